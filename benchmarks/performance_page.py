"""docs/performance.md and its pictures, from backends.csv, peers.csv and archive.csv beside this script.

python benchmarks/performance_page.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from networks_page import BENCHMARKS, GREY, IMAGES, MONAI, OURS, RIGHT, Row, all_of, new_figure, short, table, template
from tables import read_table

PAGE = BENCHMARKS.parent / "docs" / "performance.md"
NAMES = {
    "unet": "U-Net",
    "se_depthwise_unet": "SE + depthwise",
    "ultra_light_unet": "ultra-light",
    "efficient_lite_unet": "EfficientNet-Lite",
    "nnunet_plain": "nnU-Net's PlainConvUNet",
    "smp_resnet50": "smp's Unet, ResNet-50",
    "smp_lite0": "smp's Unet, EfficientNet-Lite0",
}


def page(benchmarks: Path = BENCHMARKS) -> str:
    """The text of docs/performance.md, from the CSVs in ``benchmarks``."""
    return template("performance_page.md.jinja").render(
        backends=[backends_section(rows) for rows in by_machine(read_table(benchmarks / "backends.csv"))],
        peers=peers_section(read_table(benchmarks / "peers.csv")),
        archive=archive_section(read_table(benchmarks / "archive.csv")),
    )


def by_machine(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each CPU and number of threads together."""
    machines: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        machines.setdefault((row["cpu"], row["threads"]), []).append(row)
    return list(machines.values())


def made_on(rows: Sequence[Row]) -> str:
    threads = all_of(rows, "threads")
    return f"{all_of(rows, 'cpu')}, {threads} thread{'s' * (threads != '1')}"


def once(rows: Iterable[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def backends_section(rows: Sequence[Row]) -> dict[str, str]:
    cells = {(row["way"], row["network"]): row for row in rows}
    networks, ways = once(rows, "network"), once(rows, "way")
    titles = {"": "---", **{NAMES[name]: RIGHT for name in networks}}

    def lines(text: Any) -> str:
        found = ([cells.get((way, name)) for name in networks] for way in ways)
        return table(
            titles,
            ([f"`{way}`", *(text(row) if row else "" for row in of)] for way, of in zip(ways, found, strict=True)),
        )

    return {
        "sentence": f"{made_on(rows)}; flags: {all_of(rows, 'flags')}; {all_of(rows, 'versions')}.",
        "speed": lines(lambda row: f"{short(row['ms'])} ({float(row['ratio']):.1f}x)"),
        "memory": lines(lambda row: short(row["peak_mb"])) if all(row.get("peak_mb") for row in rows) else "",
    }


def peers_section(rows: Sequence[Row]) -> dict[str, str]:
    """Empty where nothing was measured."""
    if not rows:
        return {}
    images, files = ([row for row in rows if row["what"] == what] for what in ("image", "files"))
    titles = {"network": "---", "parameters": RIGHT, "MACs": RIGHT, "way": "---", "ms": RIGHT, "ratio": RIGHT}
    same = [float(row["same_pixels"]) for row in images if in_float32(row["way"])]
    return {
        "sentence": f"{made_on(rows)}; flags: {all_of(rows, 'flags')}; {all_of(rows, 'versions')}.",
        "images": table({**titles, "memory, MB": RIGHT}, map(peer_cells, images)),
        "files": table(
            {
                "network": "---",
                "way": "---",
                "images": RIGHT,
                "ms an image": RIGHT,
                "ratio": RIGHT,
                "memory, MB": RIGHT,
            },
            ([NAMES[row["network"]], row["way"], row["images"], *figures(row)] for row in files),
        ),
        "verdict": verdict(images, files),
        "same": f"All do the same work: masks of float32 agree in at least {100 * min(same):.1f} % of pixels.",
    }


def in_float32(way: str) -> bool:
    return way not in ("delineate", "smp autocast")


def figures(row: Row) -> list[str]:
    return [short(row["ms"]), f"{float(row['ratio']):.2f}", short(row["peak_mb"])]


def peer_cells(row: Row) -> list[str]:
    about = [NAMES[row["network"]], f"{float(row['parameters']) / 1e6:.1f} M", f"{short(row['gmacs'])} G"]
    return [*about, row["way"], *figures(row)]


def verdict(images: Sequence[Row], files: Sequence[Row]) -> str:
    """Whether a peer was faster with the same network."""
    faster = [
        f"`{row['way']}` with {NAMES[row['network']]}, {row['what']} ({float(row['ratio']):.2f})"
        for row in [*images, *files]
        if not row["way"].startswith("delineate") and float(row["ratio"]) < 1
    ]
    if not faster:
        return "No peer was faster than `delineate` with the same network."
    return f"Faster than `delineate` with the same network: {', '.join(faster)}."


def archive_section(rows: Sequence[Row]) -> dict[str, str]:
    """Empty where nothing was measured."""
    if not rows:
        return {}
    first = rows[0]
    titles = {"": "---", "seconds": RIGHT, "images a second": RIGHT, "ratio": RIGHT}
    cells = ([f"`{r['way']}`", r["seconds"], r["images_s"], f"{float(r['ratio']):.2f}"] for r in rows)
    return {
        "sentence": f"`{first['bundle']}` on {first['images']} photos of {first['size']} from disk to mask PNG; "
        f"{made_on(rows)}; the process held at most {first['rss_mb']} MB.",
        "table": table(titles, cells),
    }


def draw_backends(rows: Sequence[Row], path: Path) -> None:
    """A panel a network, of the first machine."""
    networks = once(rows, "network")
    figure = new_figure(height=2.6 * ((len(networks) + 1) // 2) + 0.6)
    panels = figure.subplots((len(networks) + 1) // 2, 2, squeeze=False).ravel()
    for axes, name in zip(panels, networks, strict=False):
        own = [row for row in rows if row["network"] == name]
        bars(axes, [(r["way"], float(r["ratio"]), GREY if r["way"] == "published" else OURS) for r in own], "{:.1f}x")
        axes.set_title(NAMES[name], loc="left", fontsize=10)
    for axes in panels[len(networks) :]:
        axes.set_visible(False)
    figure.suptitle(f"Times faster than published code, {made_on(rows)}", fontsize=10)
    save(figure, path)


def draw_peers(rows: Sequence[Row], path: Path) -> None:
    """A panel a network, as high as it has ways."""
    each = [[row for row in rows if row["network"] == name] for name in once(rows, "network")]
    figure = new_figure(height=0.26 * len(rows) + 0.75 * len(each) + 0.5)
    panels = figure.subplots(len(each), 1, squeeze=False, height_ratios=[len(own) + 1 for own in each]).ravel()
    for axes, own in zip(panels, each, strict=True):
        hues = (OURS if row["way"].startswith("delineate") else MONAI for row in own)
        bars(axes, [(r["way"], float(r["ms"]), hue) for r, hue in zip(own, hues, strict=True)], "{:.0f} ms")
        name, parameters, gmacs = (own[0][column] for column in ("network", "parameters", "gmacs"))
        title = f"{NAMES[name]}: {float(parameters) / 1e6:.1f} M parameters, {short(gmacs)} GMACs"
        axes.set_title(title, loc="left", fontsize=10)
    figure.suptitle(f"One image of 256x256 to its mask, {made_on(rows)}", fontsize=10)
    save(figure, path)


def bars(axes: Axes, values: Sequence[tuple[str, float, str]], text: str) -> None:
    names, widths, hues = zip(*values, strict=True)
    drawn = axes.barh(range(len(names)), widths, color=hues, height=0.72)
    axes.bar_label(drawn, [text.format(width) for width in widths], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(widths))
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi="figure", metadata={"Software": None})


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    if rows := read_table(BENCHMARKS / "backends.csv"):
        draw_backends(by_machine(rows)[0], IMAGES / "performance_backends.png")
    if rows := [row for row in read_table(BENCHMARKS / "peers.csv") if row["what"] == "image"]:
        draw_peers(rows, IMAGES / "performance_peers.png")


if __name__ == "__main__":
    main()
