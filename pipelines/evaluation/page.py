"""``report.html``: an evaluation on one page, failures first, and its figures as PNG files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..core.errors import counted
from ..core.files import replacing, write_atomically
from ..core.pages import render_page
from .charted import Charted, charted_structures
from .charts import dice_by_size, distributions, precision_recall
from .confusion import confusions
from .figures import Chart, as_svg, save_png
from .headline import headline
from .learning import learning_curves
from .pictures import Bytes, as_jpeg, draw_errors
from .protocol import versions_of
from .report import legend_of
from .scored import Evaluation, Worst
from .tables import (
    glossary,
    image_table,
    outcome,
    parts_of,
    row_id,
    score_table,
    subgroup_tables,
    undefined_notes,
)
from .text import failure_line, folds_of, outcome_line
from .values import shown

PAGE, FIGURES = "report.html", "figures"
_OURS = ("worst_??", "distributions", "confusion_*", "dice_by_size*", "precision_recall", "learning_*")

Charts = Mapping[str, Sequence[Chart]]


def write_page(folder: Path, evaluation: Evaluation, metrics: Mapping[str, Any]) -> Path:
    """Write the page of an evaluation and its figures.

    Args:
        folder: gets ``report.html`` and the folder ``figures``.
        evaluation: rows, structures and worst images.
        metrics: what ``metrics.json`` holds.

    Returns:
        the page.
    """
    charted = charted_structures(metrics, evaluation.rows, evaluation.structures)
    charts = _charts(evaluation, metrics, charted)
    worst = [_picture(one) for one in evaluation.worst]
    _write_figures(folder / FIGURES, charts, worst)
    main = headline(metrics)
    several = len(charted) > 1
    values = {
        "title": _title(metrics),
        "date": datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z").rstrip(" ,"),
        "metrics": metrics,
        "images_of": f"{counted(metrics['count'], 'image')} of {counted(metrics['groups'], 'group')}",
        "folds": folds_of(metrics),
        "legend": legend_of(evaluation.structures) if several else [],
        "headline": score_table(metrics, main),
        "failures": [failure_line(one) for one in metrics.get("failures") or ()],
        "outcomes": [(one.name, outcome_line(images)) for one in charted if (images := one.scores.get("images"))],
        "worst": [_worst(one.row, picture, evaluation) for one, picture in zip(evaluation.worst, worst, strict=True)],
        "worst_of": counted(len(worst), "image"),
        "charts": {kind: [_figure(chart) for chart in some] for kind, some in charts.items()},
        "several": several,
        "scores": score_table(metrics, evaluation.metrics),
        "undefined": undefined_notes(metrics, evaluation.metrics),
        "subgroups": subgroup_tables(metrics, main),
        "volumes": score_table(metrics.get("volumes") or {}, evaluation.metrics),
        "images": image_table(evaluation, metrics),
        "glossary": glossary(evaluation.metrics),
        "notes": _notes(metrics),
    }
    write_atomically(folder / PAGE, render_page("evaluation.html.jinja", values).encode())
    return folder / PAGE


def remove_page(folder: Path) -> None:
    """Remove the page and the figures of an earlier evaluation."""
    (folder / PAGE).unlink(missing_ok=True)
    for path in _figures_in(folder / FIGURES):
        path.unlink()


def _figures_in(folder: Path) -> set[Path]:
    return {path for pattern in _OURS for path in folder.glob(f"{pattern}.png")}


def _charts(evaluation: Evaluation, metrics: Mapping[str, Any], charted: Sequence[Charted]) -> Charts:
    """The charts by the part of the page that they are in."""
    bundle = _bundle(metrics)
    history = Path(bundle.get("path") or "", "logs", "history.csv") if bundle.get("path") else None
    return {
        "distributions": distributions(evaluation.metrics, charted),
        "confusions": [chart for one in charted for chart in confusions(one)],
        "sizes": [chart for one in charted if (chart := dice_by_size(one))],
        "curves": [chart for chart in [precision_recall(charted)] if chart],
        "learning": learning_curves(history) if history and history.is_file() else [],
    }


def _write_figures(folder: Path, charts: Charts, worst: Sequence[Bytes]) -> None:
    """Write the charts and the worst images; those of an earlier evaluation that this one has not are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    together = charts["distributions"]
    single = [chart for kind, some in charts.items() if kind != "distributions" for chart in some]
    written = {save_png(folder / f"{chart.name}.png", [chart]) for chart in single}
    written |= {save_png(folder / "distributions.png", together, 3)} if together else set()
    for rank, picture in enumerate(worst, 1):
        path = folder / f"worst_{rank:02d}.png"
        written.add(path)
        with replacing(path) as temporary:
            Image.fromarray(picture).save(temporary, "PNG")
    for path in _figures_in(folder) - written:
        path.unlink()


def _picture(one: Worst) -> Bytes:
    """What was missed and made up in one of the worst images, drawn now or by an earlier evaluation."""
    if one.picture is None:
        return draw_errors(one.image(), one.prediction, one.reference, one.structures)
    with Image.open(one.picture) as drawn:
        return np.asarray(drawn.convert("RGB"))


def _worst(row: int, picture: Bytes, evaluation: Evaluation) -> dict[str, Any]:
    """A card: the picture, what it is called, how it scored, where its row is."""
    found = evaluation.rows[row]
    name = Path(str(found["image"])).name + (f", slice {found['slice']}" if found.get("slice") is not None else "")
    height, width = picture.shape[:2]
    return {
        "name": name,
        "dice": shown(found.get("mean_dice")),
        "outcome": outcome(found, parts_of(evaluation)),
        "link": row_id(row),
        "uri": as_jpeg(picture),
        "width": width,
        "height": height,
        "alt": f"{name}: outlines of reference and prediction; missed area red, false area blue",
    }


def _figure(chart: Chart) -> dict[str, Any]:
    return {"title": chart.title, "note": chart.note, "svg": as_svg(chart)}


def _title(metrics: Mapping[str, Any]) -> str:
    if known := metrics.get("cross_validation"):
        return f"Cross-validation of {known['of']}"
    name = _bundle(metrics).get("name")
    return f"Evaluation of {name}" if name else "Evaluation"


def _bundle(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded of the bundle; nothing where evaluations of several were merged."""
    found = metrics.get("bundle")
    return found if isinstance(found, Mapping) else {}


def _notes(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the figures rest on."""
    bundle = _bundle(metrics)
    versions = ", ".join(f"{name} {' and '.join(seen)}" for name, seen in versions_of(metrics).items())
    settings = ", ".join(f"{name} = {value}" for name, value in (metrics.get("settings") or {}).items())
    notes = {
        "Bundle": " ".join(str(bundle[key]) for key in ("name", "path") if bundle.get(key)),
        "Made of": ", ".join(bundle.get("members") or ()),
        "Hash of the bundle": bundle.get("hash"),
        "Members of the ensemble": ", ".join(_member(one) for one in metrics.get("members") or ()),
        "Test-time augmentation": metrics.get("tta"),
        "Network computed by": metrics.get("backend"),
        "Settings": settings,
        "Hash of the data": metrics.get("data_hash"),
        "Grid": metrics.get("grid"),
        "Intervals": metrics.get("interval"),
        "Empty masks": metrics.get("empty_masks"),
        "Versions": versions,
        "Commit": metrics.get("commit"),
    }
    return [(name, str(value)) for name, value in notes.items() if value]


def _member(one: Any) -> str:
    return f"{one['name']} ({one['hash'][:12]})" if isinstance(one, Mapping) else str(one)
