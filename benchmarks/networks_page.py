"""docs/networks.md and its pictures, from the registry and the CSVs beside this script.

    python benchmarks/networks_page.py

``compare_isic.csv`` and ``compare_busi.csv`` are ``compare.csv`` of ``delineate compare``, and
``compare_isic.json`` and ``compare_busi.json`` the ``compare.json`` beside it, which the printed command is made from.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Path2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, StrMethodFormatter
from matplotlib.transforms import Bbox
from tables import read_table

from delineate.networks import NetworkFacts, list_networks, network_facts

BENCHMARKS = Path(__file__).parent
PAGE, IMAGES = BENCHMARKS.parent / "docs" / "networks.md", BENCHMARKS.parent / "docs" / "images"
COMPARED = {"isic": ("ISIC 2018", "skin_lesion"), "busi": ("BUSI, lesions", "breast_lesion")}
OURS, MONAI, GREY = "#2f7fd6", "#d9722e", "#888888"
RIGHT = "---:"

Row = dict[str, str]


def measured(rows: Iterable[Row], column: str, best_first: int = 1) -> list[Row]:
    """The rows that have a number in ``column``, the smallest first; the largest with ``best_first=-1``."""
    return sorted((row for row in rows if row[column]), key=lambda row: best_first * float(row[column]))


def page(benchmarks: Path = BENCHMARKS) -> str:
    """The text of docs/networks.md, from the CSVs in ``benchmarks``."""
    speed = read_table(benchmarks / "networks.csv")
    compared = [comparison(benchmarks, data) for data in COMPARED]
    return template("networks_page.md.jinja").render(
        facts=facts_table([network_facts(name) for name in list_networks()]),
        machines=[speed_section(rows) for rows in by_machine(speed)],
        chart=bool(chart_rows(speed)),
        compared=compared,
        scored=any(data["table"] for data in compared),
    )


def template(name: str) -> jinja2.Template:
    """That of a page, which lies beside this script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(BENCHMARKS),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(name)


def table(columns: dict[str, str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; ``columns`` are titles with the rule below them, ``---`` or ``---:``."""
    lines = [list(columns), list(columns.values()), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def short(number: str | float) -> str:
    """Three digits, or all of those before the point."""
    value = float(number)
    digits = 0 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def facts_table(facts: Iterable[NetworkFacts]) -> str:
    titles = {
        "network": "---",
        "what it is": "---",
        "parameters": RIGHT,
        "MACs": RIGHT,
        "sides": "---",
        "published": "---",
    }
    return table(
        titles,
        (
            [f"`{each.name}`", each.description, f"{each.parameters:,}", macs(each), sides(each), cited(each.reference)]
            for each in facts
        ),
    )


def macs(facts: NetworkFacts) -> str:
    return f"{short(facts.macs / 1e9)} G" + (f" ({facts.side}x{facts.side})" if facts.side != 256 else "")


def sides(facts: NetworkFacts) -> str:
    smallest, divisor = facts.smallest_size, facts.divisor
    if divisor is None:
        return f"{smallest} only"
    return f"{smallest} or more" if divisor == 1 else f"{smallest} + multiples of {divisor}"


def cited(reference: str) -> str:
    """``A et al. Title. Venue Year, https://...`` as a link: A et al, Venue Year."""
    text, _, link = reference.rpartition(", ")
    return f"[{text.split('. ')[0]}, {text.split('. ')[-1]}]({link})"


def by_machine(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of ``networks.csv``, those of each machine together, CPUs first."""
    machines: dict[tuple[bool, str], list[Row]] = {}
    for row in rows:
        machines.setdefault((row["device"] != "cpu", machine(row)), []).append(row)
    return [machines[key] for key in sorted(machines)]


def machine(row: Row) -> str:
    return row["cpu"] if row["device"] == "cpu" else row["device"]


def all_of(rows: Iterable[Row], column: str) -> str:
    """What ``column`` says, once each."""
    return ", ".join(dict.fromkeys(row[column] for row in rows if row.get(column)))


def speed_section(rows: list[Row]) -> dict[str, str]:
    ranked, gpu = measured(rows, "default_ms"), rows[0]["device"] != "cpu"
    failed = "; ".join(f"`{row['network']}` ({row['error']})" for row in rows if row["error"])
    titles = ["float32, ms", "default, ms", "ratio", "memory, MB"]
    titles += ["training: float32, images/s", "training: default, images/s", "training: ratio", "training: memory, MB"]
    return {
        "sentence": f"{machine(rows[0])}, {all_of(rows, 'threads')} threads, torch {all_of(rows, 'torch')}, MONAI "
        f"{all_of(rows, 'monai')}; default precision is {all_of(rows, 'precision')}. The lowest latency first.",
        "command": "python benchmarks/networks.py --out benchmarks/networks.csv"
        + (" --append --device cuda" if gpu else ""),
        "table": table({"network": "---", **dict.fromkeys(titles, RIGHT)}, map(speed_cells, ranked)),
        "failed": failed,
    }


def speed_cells(row: Row) -> list[str]:
    inference = ["float32_ms", "default_ms", "latency_ratio", "inference_mb"]
    training = ["float32_images_s", "default_images_s", "training_ratio", "training_mb"]
    numbers = [short(row[column]) if row[column] else "" for column in inference + training]
    side, training_side = row["side"], row["training_side"]
    if training_side not in ("128", ""):
        numbers[5] += f" ({training_side}x{training_side})"
    return [f"`{row['network']}`" + (f" ({side}x{side})" if side != "256" else ""), *numbers]


def comparison(benchmarks: Path, data: str) -> dict[str, str]:
    """One data set's section; ``table`` is empty where nothing was measured."""
    title, bundle = COMPARED[data]
    rows, terms = read_table(benchmarks / f"compare_{data}.csv"), benchmarks / f"compare_{data}.json"
    ranked = measured(rows, "dice", best_first=-1)
    if not ranked:
        return {"title": title, "table": ""}
    titles = ["Dice (95 % interval)", "IoU", "latency, ms", "parameters", "epochs", "steps", "training, min"]
    agreed = json.loads(terms.read_text(encoding="utf-8")) if terms.is_file() else {}
    return {
        "title": title,
        "sentence": f"{all_of(ranked, 'images')} test images, seed {all_of(ranked, 'seed')}, "
        f"{all_of(ranked, 'precision')}, {all_of(ranked, 'device')}, threads: {all_of(ranked, 'threads')}, torch "
        f"{all_of(ranked, 'torch')}, MONAI {all_of(ranked, 'monai')}; `dataset_hash` {ranked[0]['dataset_hash'][:12]}. "
        f"[CSV](../benchmarks/compare_{data}.csv).",
        "command": one_thread(ranked) + compare_command(bundle, data, [row["network"] for row in rows], agreed),
        "table": table({"network": "---", **dict.fromkeys(titles, RIGHT)}, map(dice_cells, ranked)),
        "failed": "; ".join(f"`{row['network']}` ({row['error']})" for row in rows if row.get("error")),
    }


def one_thread(rows: Sequence[Row]) -> str:
    return "OMP_NUM_THREADS=1 " if all_of(rows, "threads") == "1" else ""


def compare_command(bundle: str, data: str, networks: list[str], terms: dict[str, Any]) -> str:
    names, minutes = terms.get("networks", networks), terms.get("minutes", "MINUTES")
    words = ["delineate", "compare", bundle, "--data", f"data/{data}", "--networks", ",".join(names)]
    words += ["--minutes", f"{minutes:g}" if terms else minutes]
    words += ["--loss", terms["loss"]] if terms.get("loss") else []
    for name, value in terms.get("settings", {}).items():
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value, separators=(',', ':'))}"]
    return shlex.join(words)


def dice_cells(row: Row) -> list[str]:
    dice, low, high, iou = (f"{float(row[column]):.3f}" for column in ("dice", "dice_low", "dice_high", "iou"))
    cells = [f"`{row['network']}`", f"{dice} ({low} - {high})", iou, short(row["latency_ms"])]
    minutes = f"{float(row['training_minutes']):.1f}"
    return [*cells, f"{int(row['parameters']):,}", row["epochs"], f"{int(row['steps']):,}", minutes]


def chart_rows(rows: Sequence[Row]) -> list[Row]:
    """What the latency chart shows: the first machine."""
    return measured(by_machine(rows)[0], "default_ms") if rows else []


def new_figure(height: float) -> Figure:
    figure = Figure(figsize=(8.5, height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    return figure


def draw_latency(rows: Sequence[Row], path: Path) -> None:
    figure = new_figure(height=5.5)
    axes = figure.subplots()
    points = [(row["network"], float(row["parameters"]), float(row["default_ms"])) for row in rows]
    axes.set(xlabel="parameters", ylabel="latency of one image, ms", xscale="log", yscale="log")
    axes.set_title(f"Default precision, {machine(rows[0])}, {rows[0]['threads']} threads", loc="left", fontsize=10)
    scatter(axes, points)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    finish(figure, path, [(axes, points, [])])


def draw_dice(panels: dict[str, list[Row]], path: Path) -> None:
    """One panel a data set."""
    figure = new_figure(height=5 * len(panels))
    drawn = []
    for axes, (title, rows) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.items(), strict=True):
        points = [(row["network"], float(row["latency_ms"]), float(row["dice"])) for row in rows]
        bars = [(float(row["latency_ms"]), float(row["dice_low"]), float(row["dice_high"])) for row in rows]
        for (name, *_), (x, low, high) in zip(points, bars, strict=True):
            axes.plot([x, x], [low, high], color=colour(name), alpha=0.35, linewidth=1.5, zorder=1)
        axes.set(xlabel="latency of one image, ms", ylabel="mean Dice, 95 % interval", xscale="log")
        axes.set_title(f"{title}, {all_of(rows, 'images')} test images", loc="left", fontsize=10)
        scatter(axes, points)
        drawn.append((axes, points, bars))
    finish(figure, path, drawn)


def colour(network: str) -> str:
    return MONAI if network.startswith("monai.") else OURS


def scatter(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    for label, hue in (("Delineate", OURS), ("MONAI", MONAI)):
        chosen = [(x, y) for name, x, y in points if colour(name) == hue]
        if chosen:
            axes.scatter(*zip(*chosen, strict=True), s=36, color=hue, label=label, zorder=3)
    axes.margins(0.12)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.legend(frameon=False, loc="lower right", fontsize=9)


def finish(figure: Figure, path: Path, drawn: Sequence[tuple[Axes, Any, Any]]) -> None:
    """Label the points, which needs the layout, and write the picture."""
    figure.draw_without_rendering()
    for axes, points, bars in drawn:
        place_labels(axes, points, bars)
    figure.set_layout_engine("none")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi="figure", metadata={"Software": None})


def place_labels(
    axes: Axes, points: Sequence[tuple[str, float, float]], bars: Sequence[tuple[float, float, float]]
) -> None:
    """Write each name where it hides least: not over names, points or the frame, rather not over interval bars."""
    place = axes.transData.transform
    taken = [box_around(place((x, y)), 6) for _, x, y in points]
    if (legend := axes.get_legend()) is not None:
        taken.append(legend.get_window_extent())
    lines = [Bbox([place((x, low)), place((x, high))]).padded(1.5) for x, low, high in bars]
    offsets = [
        (radius * math.cos(angle * math.pi / 6), radius * math.sin(angle * math.pi / 6))
        for radius, angle in product((8, 16, 26, 38, 52, 70), range(12))
    ]
    inside = axes.get_window_extent()

    def crossed(point: Any, offset: tuple[float, float]) -> int:
        """How many other points the leader to a label runs through."""
        path = Path2D([point, point + np.multiply(offset, axes.figure.dpi / 72)])
        others = [box for box in taken[: len(points)] if not box.contains(*point)]
        return sum(path.intersects_bbox(box, filled=False) for box in others)

    def cost(box: Bbox, point: Any, offset: tuple[float, float]) -> float:
        outside = box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
        hidden = box.count_overlaps(taken) + outside + crossed(point, offset)
        return 1000 * hidden + 25 * box.count_overlaps(lines) + math.hypot(*offset)

    for name, x, y in sorted(points, key=lambda point: -point[2]):
        label = annotate(axes, name, x, y)
        best = min((cost(move(label, offset), place((x, y)), offset), offset) for offset in offsets)[1]
        taken.append(move(label, best))
        label.arrow_patch.set_visible(math.hypot(*best) > offsets[0][0])


def annotate(axes: Axes, name: str, x: float, y: float) -> Annotation:
    arrow = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    halo = [withStroke(linewidth=2.5, foreground="white")]
    style: dict[str, Any] = {"fontsize": 8, "textcoords": "offset points", "path_effects": halo, "zorder": 4}
    return axes.annotate(name, (x, y), xytext=(0, 0), color=colour(name), arrowprops=arrow, **style)


def move(label: Annotation, offset: tuple[float, float]) -> Bbox:
    """Put the label there; where it then is, in pixels."""
    dx, dy = offset
    label.xyann = offset
    label.set_horizontalalignment("left" if dx > 1 else "right" if dx < -1 else "center")
    label.set_verticalalignment("bottom" if dy > 1 else "top" if dy < -1 else "center")
    label.update_positions(label.figure.canvas.get_renderer())
    return Text.get_window_extent(label).padded(1)  # the text's, without the arrow


def box_around(centre: Any, pixels: float) -> Bbox:
    return Bbox([centre - pixels, centre + pixels])


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    if rows := chart_rows(read_table(BENCHMARKS / "networks.csv")):
        draw_latency(rows, IMAGES / "networks_latency.png")
    panels = {
        title: measured(read_table(BENCHMARKS / f"compare_{data}.csv"), "dice") for data, (title, _) in COMPARED.items()
    }
    if panels := {title: rows for title, rows in panels.items() if rows}:
        draw_dice(panels, IMAGES / "networks_dice.png")


if __name__ == "__main__":
    main()
