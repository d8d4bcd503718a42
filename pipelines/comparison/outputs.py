"""The files of a comparison: ``comparison.json``, ``.csv``, ``.md``, ``.html``, ``comparison_per_image.csv``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import counted
from ..core.files import write_atomically
from ..core.pages import render_page
from ..evaluation.figures import as_svg
from ..evaluation.pictures import as_data
from ..inference.result_table import as_csv
from .charts import difference_chart
from .judged import Row
from .significance import SOURCES
from .verdicts import interval, is_shown, metric_of, needed_text, noun, number, p_text, units

Found = Mapping[str, Any]
Paired = Mapping[str, Any]
COLUMNS = (
    *("a", "b", "metric", "structure", "exploratory", "images", "groups", "left_out", "a_mean", "b_mean"),
    *("difference", "ci95_low", "ci95_high", "p", "p_holm", "a_better", "b_better", "ties", "groups_needed", "verdict"),
)
TITLES = (
    *("A", "B", "score", "A's mean", "B's mean", "B minus A", "95 % interval", "p", "p, Holm"),
    *("better, A : B", "ties", "needed"),
)


def write_outputs(found: Found, pairs: Sequence[Paired], rows: Sequence[Row], folder: Path) -> None:
    """Write all files of a comparison.

    Args:
        found: what ``comparison.json`` holds.
        pairs: its comparisons, with the differences of each image (``per_image``).
        rows: of the images.
        folder: where to; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tested = [*found["comparisons"], *found["exploratory"]]
    write_atomically(folder / "comparison.json", (json.dumps(found, indent=2, allow_nan=False) + "\n").encode())
    write_atomically(folder / "comparison.csv", as_csv(map(_table_row, tested), COLUMNS).encode())
    of_images = list(_image_rows(pairs, rows))
    write_atomically(folder / "comparison_per_image.csv", as_csv(of_images, list(of_images[0])).encode())
    write_atomically(folder / "comparison.md", _markdown(found).encode())
    charts = [difference_chart(pair) for pair in pairs if pair["images"]]
    values = {
        "title": title_of(found),
        "found": found,
        "where": _where(found),
        "titles": TITLES,
        "tables": [(cells(row), bool(row["structure"])) for row in tested],
        "charts": [{"title": chart.title, "svg": as_svg(chart)} for chart in charts],
        "largest": [one | {"uri": one["picture"] and as_data(folder / one["picture"])} for one in largest_of(found)],
        "sources": SOURCES,
    }
    write_atomically(folder / "comparison.html", render_page("comparison.html.jinja", values).encode())


def _table_row(row: Paired) -> dict[str, Any]:
    low, high = row["ci95"] or (None, None)
    return {name: row[name] for name in COLUMNS if name in row} | {
        "exploratory": row["p_holm"] is None,
        "ci95_low": low,
        "ci95_high": high,
    }


def _image_rows(pairs: Sequence[Paired], rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """An image each, with a column of differences for each pair and metric."""
    for index, row in enumerate(rows):
        named = {name: row[name] for name in ("image", "series", "slice", "group", "class", "source") if name in row}
        found = {f"{one['metric']}: {one['b']} - {one['a']}": float(one["per_image"][index]) for one in pairs}
        yield named | {name: None if np.isnan(value) else value for name, value in found.items()}


def title_of(found: Found) -> str:
    """``A and B compared``."""
    *names, last = found["compared"]
    return f"{', '.join(names)} and {last} compared"


def _where(found: Found) -> str:
    grouped = "" if found["groups"] == found["count"] else f" of {counted(found['groups'], 'group')}"
    return f"{counted(found['count'], 'image')}{grouped}, split {found['split']}, data {str(found['data_hash'])[:12]}"


def cells(row: Paired) -> list[str]:
    """The cells of a row under ``TITLES``."""
    return [
        *(row["a"], row["b"], noun(row["metric"], row["structure"]) + _unit(row)),
        *(number(row[name]) for name in ("a_mean", "b_mean", "difference")),
        interval(row).removeprefix("95 % interval "),
        p_text(row["p"]).removeprefix("p ").removeprefix("= "),
        "-" if row["p_holm"] is None else p_text(row["p_holm"]).removeprefix("p ").removeprefix("= "),
        f"{row['a_better']} : {row['b_better']}",
        str(row["ties"]),
        "-" if is_shown(row) else needed_text(row) + (f" {units(row)}" if row["groups_needed"] else ""),
    ]


def _unit(row: Paired) -> str:
    metric, _ = metric_of(row["metric"])
    return f", {metric.unit}" if metric and metric.unit else ""


def largest_of(found: Found) -> list[dict[str, str]]:
    """The images that differ most, as texts."""
    return [
        {
            **{name: str(one[name] or "") for name in ("a", "b", "image", "slice", "picture")},
            "score": noun(one["metric"]),
            "values": f"{number(one['a_value'])} and {number(one['b_value'])}",
            "difference": f"{one['difference']:+.3f}",
        }
        for one in found["largest"]
    ]


def _markdown(found: Found) -> str:
    lines = [f"# {title_of(found)}", "", f"On {_where(found)}.", ""]
    lines += [f"- {_escaped(text)}" for text in (*(row["verdict"] for row in found["comparisons"]), *found["warnings"])]
    lines += ["", *_table(TITLES, map(cells, found["comparisons"])), "", found["methods"]]
    if found["exploratory"]:
        lines += ["", "Each structure, exploratory: these p values are of no family and are not corrected.", ""]
        lines += _table(TITLES, map(cells, found["exploratory"]))
    lines += ["", "Images in which they differ most:", ""]
    lines += _table(
        ("A", "B", "score", "image", "A and B", "B minus A"),
        (
            [one["a"], one["b"], one["score"], f"{one['image']} {one['slice']}", one["values"], one["difference"]]
            for one in largest_of(found)
        ),
    )
    lines += ["", *(f"- {_escaped(note)}" for note in found["notes"])] if found["notes"] else []
    for one in largest_of(found):
        if one["picture"]:
            lines += ["", f"![{_escaped(one['image'])}: the reference, {one['a']}, {one['b']}]({one['picture']})"]
    return "\n".join(lines) + "\n"


def _table(titles: Sequence[str], rows: Any) -> list[str]:
    lines = [titles, ["---"] * len(titles), *([_escaped(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _escaped(text: str) -> str:
    """A name is no markup: neither a cell's border, nor emphasis."""
    return "".join(f"\\{letter}" if letter in "\\|*_`<[" else letter for letter in text)
