"""Networks compared on the same images: what they differ by, and whether that is shown."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundling.bundles import refuse_own_folder
from ..bundling.gate import Admission, admit
from ..bundling.provenance import provenance
from ..bundling.workflow import Announce
from ..core.errors import DelineateError, UnknownNameError, counted, printable
from ..core.files import refuse_unwritable, write_atomically
from ..core.versions import commit, versions
from ..evaluation.intervals import mean_with_interval
from ..evaluation.workflow import Progress, evaluate
from ..imaging.structures import Structure
from .beforehand import count_tests, refuse_unknown_metrics, warn_of_few
from .judged import Judged, Row, aligned, evaluation_in, is_evaluation, read_judged, values
from .largest import largest_differences
from .outputs import write_outputs
from .pictures import draw_largest
from .significance import ALPHA, groups_needed, holm, share_above, signed_rank
from .verdicts import methods, metric_of, verdict

logger = logging.getLogger(__name__)
_DIGITS = 9  # metrics are computed in float32: what is equal in these is a tie

Floats = NDArray[np.float64]
Paired = dict[str, Any]
Found = dict[str, Any]
"""What ``comparison.json`` holds."""


def compare(
    compared: Sequence[str | Path],
    on: str | Path | None = None,
    out: str | Path | None = None,
    *,
    metrics: Sequence[str] = ("mean_dice",),
    split: str | None = None,
    fold: int | None = None,
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
    announce: Announce | None = None,
    on_progress: Progress | None = None,
) -> Found:
    """Compare runs, or evaluations already made, on the same images: differences, intervals, tests, pictures.

    Each pair is tested with each metric by Wilcoxon's signed-rank test on the means of groups, because images of one
    patient are not independent; all these tests are one family, corrected by Holm's method. Where there are several
    structures, a metric is the mean over them, and each structure is reported beside it, untested for the family.

    Args:
        compared: runs or bundles, which are evaluated, and folders of evaluations (``metrics.json``,
            ``per_image.csv``); two or more.
        on: folder with ``datalist.json``; needed to evaluate, and for pictures of where they differ most.
        out: folder for ``comparison.json``, ``.csv``, ``.md``, ``.html``, ``comparison_per_image.csv`` and, of each
            run, ``NAME/evaluation``, which is used again while run, data and settings stay the same; nothing is kept
            where ``None``.
        metrics: columns of ``per_image.csv``; that of one structure, too, e.g. ``mean_dice_heart``.
        split: of the data to evaluate on, or ``all``; where ``None``, ``test``, or ``validation`` of a fold.
        fold: of a data set with folds, the one that is the validation.
        settings: ids of the bundles' ``evaluate.yaml`` and their values, the same for all.
        trust: use runs although verification has findings.
        announce: as of :func:`~.workflow.evaluate`.
        on_progress: the same.

    Returns:
        what ``comparison.json`` holds: ``comparisons`` has a mapping for each pair and metric, with ``a``, ``b``,
        ``metric``, ``difference`` (b minus a), ``ci95``, ``p``, ``p_holm``, ``verdict`` and more.

    Raises:
        UnverifiedError: a run is no part of the package, and verification has findings.
        DelineateError: they cannot be compared: other images, split, data or structures; no such metric.
    """
    folders = dict(zip(names_of(compared), map(evaluation_in, compared), strict=True))
    admitted = {name: None if is_evaluation(one) else admit(one, trust) for name, one in folders.items()}
    if on is None and (runs := [name for name, one in admitted.items() if one]):
        raise DelineateError(
            f"{', '.join(runs)} has to be evaluated: name the data set with --on; or name the folder of an evaluation "
            "that is made, where its metrics.json is"
        )
    if not any(admitted.values()) and (fold is not None or settings):
        raise DelineateError("--fold and --set are for runs, and all of these are evaluated already; leave them out")
    with TemporaryDirectory() as temporary:
        folder = Path(out if out is not None else temporary)
        refuse_unwritable(folder)
        ready = {name: read_judged(name, Path(folders[name])) for name, one in admitted.items() if one is None}
        _refuse_split([*ready.values()], split)
        _look_ahead(admitted, ready, folder, metrics)
        if on is not None and len(ready) < len(admitted):
            warn_of_few(on, split, fold, count_tests(len(admitted), metrics))
        judged = []
        for name, admission in admitted.items():
            if admission is None or on is None:
                judged.append(ready[name])
                continue
            options = {"split": split, "fold": fold, "settings": dict(settings or {})}
            place = _evaluated(admission, Path(on), folder / name, options, trust, announce, on_progress)
            judged.append(read_judged(name, place, admission.folder))
        return compare_judged(judged, folder, on=on, metrics=metrics, settings=settings, trust=trust)


def names_of(compared: Sequence[str | Path]) -> list[str]:
    """What each is called: by its folder, and by those above where it is not the only one of that name.

    Raises:
        DelineateError: there are less than two, or one is named twice.
    """
    if len(compared) < 2:
        raise DelineateError(f"{len(compared)} cannot be compared; name two or more runs, bundles or evaluations")
    paths = [Path(one).resolve() for one in compared]
    parts = [path.parts[1:-1] if path.name == "evaluation" else path.parts[1:] for path in paths]
    if len(set(parts)) < len(parts):
        raise DelineateError(f"one is named twice: {', '.join(map(printable, compared))}; name each once")
    names: list[str] = []
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["-".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            break
    return names


def _evaluated(
    admission: Admission,
    data: Path,
    folder: Path,
    options: Mapping[str, Any],
    trust: bool,
    announce: Announce | None,
    on_progress: Progress | None,
) -> Path:
    """The folder of a run's evaluation, made anew unless it is there already, of the same run, data and settings."""
    place, record = folder / "evaluation", folder / "evaluation.json"
    terms = json.loads(json.dumps({**provenance(data), "bundle": admission.hash, **options}, default=str))
    if record.is_file() and is_evaluation(place) and json.loads(record.read_text(encoding="utf-8")) == terms:
        logger.info(f"{place} is of the same run, data and settings: it is used again")
        return place
    record.unlink(missing_ok=True)
    evaluate(admission.folder, data, place, trust=trust, announce=announce, on_progress=on_progress, **options)
    write_atomically(record, (json.dumps(terms, indent=2) + "\n").encode())
    return place


def _look_ahead(
    admitted: Mapping[str, Admission | None], ready: Mapping[str, Judged], folder: Path, metrics: Sequence[str]
) -> None:
    """Refuse what would else be refused after all was evaluated, or would write into a run."""
    for name, admission in admitted.items():
        if admission:
            refuse_own_folder(admission.folder, folder)
            refuse_unknown_metrics(name, admission.folder, metrics)
            continue
        for metric in metrics:
            _columns([ready[name]], metric)


def _refuse_split(judged: Sequence[Judged], split: str | None) -> None:
    for one in judged:
        if split and one.metrics.get("split") != split:
            raise DelineateError(
                f"{one.name} is an evaluation of the split {one.metrics.get('split')}, and {split} is asked for; "
                "leave out --split, or name the run instead"
            )


def compare_judged(
    judged: Sequence[Judged],
    folder: Path,
    *,
    on: str | Path | None = None,
    metrics: Sequence[str] = ("mean_dice",),
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Found:
    """Compare evaluations and write all files; as `compare`, which evaluates before.

    Raises:
        DelineateError: they cannot be compared.
    """
    tables = aligned(judged, metrics)
    columns = {name: _columns(judged, name) for name in dict.fromkeys(metrics)}
    pairs = [compare_pair(judged, tables, pair, name, columns[name]) for name in columns for pair in _pairs(judged)]
    for row, p_holm in zip(pairs, holm([row["p"] for row in pairs]), strict=True):
        row |= {"p_holm": p_holm, "family": len(pairs)}
    exploratory = [
        compare_pair(judged, tables, pair, name, [column], structure)
        for name, of_one in columns.items()
        if len(of_one) > 1
        for pair in _pairs(judged)
        for structure, column in zip(judged[0].structures, of_one, strict=True)
    ]
    for row in [*pairs, *exploratory]:
        row["groups_needed"] = _needed(row, len(pairs))
        row["verdict"] = verdict(row)
    largest = largest_differences(judged, tables, pairs)
    notes = draw_largest(judged, tables, largest, folder, on, settings or {}, trust)
    found = _summary(judged, tables, pairs, exploratory)
    found |= {
        "largest": [one for of_pair in largest for one in of_pair],
        "notes": notes,
        "warnings": _flattered(judged),
    }
    write_outputs(found, pairs, tables[0], folder)
    return found


def _flattered(judged: Sequence[Judged]) -> list[str]:
    """Of which networks the scores are too good: they have seen some of the images, or may have drawn their masks."""
    drafts = max((one.metrics.get("drafts", 0) for one in judged), default=0)
    drawn = [f"Of {counted(drafts, 'image')} the mask is as Delineate drew it, which favours the network that did."]
    return drawn * bool(drafts) + [
        f"{one.name} has seen {again} of the images in its training, so its scores are too good: compare on others."
        for one in judged
        if (again := one.metrics.get("seen_in_training"))
    ]


def _pairs(judged: Sequence[Judged]) -> list[tuple[int, int]]:
    return list(combinations(range(len(judged)), 2))


def _columns(judged: Sequence[Judged], metric: str) -> list[str]:
    """The columns of a metric: of several structures one each, of which the mean is compared.

    Raises:
        UnknownNameError: an evaluation has no such metric.
        DelineateError: no image has a value.
    """
    for one in judged:
        scores = [name for name, score in one.metrics.items() if isinstance(score, dict) and "ci95" in score]
        parts = [Structure(name).file_name for name in one.structures]
        known = [*scores, *(f"{name}_{part}" for name in scores for part in parts)]
        if metric not in known or metric not in one.rows[0]:
            raise UnknownNameError(f"metric of {one.name}", metric, known)
        if not any(row[metric] for row in one.rows):
            raise DelineateError(f"{one.name} has no value of {metric} in any image; choose another --metric")
    return [f"{metric}_{part}" for part in parts] if parts and metric in scores else [metric]


def compare_pair(
    judged: Sequence[Judged],
    tables: Sequence[Sequence[Row]],
    pair: tuple[int, int],
    metric: str,
    columns: Sequence[str],
    structure: str = "",
) -> Paired:
    """What two evaluations differ by in a metric.

    Args:
        judged: all evaluations.
        tables: their rows, those of one image at the same place.
        pair: which two of them.
        metric: its name.
        columns: of the rows, one a structure, of which the mean over structures counts.
        structure: whose the only column is, where it is one of several.

    Returns:
        a row of the table; ``per_image`` holds the difference of each image, NaN where one of both has no value.
    """
    first, second = (np.array([values(tables[i], name) for name in columns]).T for i in pair)
    kept = np.isfinite(first) & np.isfinite(second)
    either = np.isfinite(first) | np.isfinite(second)
    difference = np.where(kept, np.round(second - first, _DIGITS), np.nan)
    groups = [row.get("group") or row["image"] for row in tables[0]]
    per_image = _over_structures(difference)
    there = np.isfinite(per_image)
    by_group = _over_groups(per_image[there], [group for group, known in zip(groups, there, strict=True) if known])
    better = per_image[there] * _direction(metric)
    mean = mean_with_interval(difference, groups)
    return {
        "a": judged[pair[0]].name,
        "b": judged[pair[1]].name,
        "metric": metric,
        "structure": structure,
        "images": int(there.sum()),
        "groups": len(by_group),
        "left_out": int((either & ~kept).sum()),
        "a_mean": _mean(first, kept),
        "b_mean": _mean(second, kept),
        "difference": mean["value"],
        "ci95": mean["ci95"],
        "p": signed_rank(by_group),
        "p_holm": None,
        "a_better": int((better < 0).sum()),
        "b_better": int((better > 0).sum()),
        "ties": int((better == 0).sum()),
        "share_above": share_above(by_group) if len(by_group) else 0.5,
        "per_image": per_image,
        "by_group": by_group,
    }


def _direction(metric: str) -> int:
    """1 where more is better, or nobody knows; -1 where less is."""
    known, _ = metric_of(metric)
    return 1 if known is None or known.higher_is_better else -1


def _over_structures(table: Floats) -> Floats:
    """The mean of each row of (N, S) over what is finite; NaN where nothing is."""
    known = np.isfinite(table)
    total, count = np.where(known, table, 0).sum(1), known.sum(1)
    means = np.divide(total, count, out=np.full(len(table), np.nan), where=count > 0)
    return np.asarray(np.round(means, _DIGITS), np.float64)


def _over_groups(differences: Floats, groups: Sequence[str]) -> Floats:
    """The mean of each group."""
    _, which, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(np.round(np.bincount(which, weights=differences) / counts, _DIGITS), np.float64)


def _mean(table: Floats, kept: NDArray[np.bool_]) -> float | None:
    """The mean over structures of the mean over images."""
    means = [column[there].mean() for column, there in zip(table.T, kept.T, strict=True) if there.any()]
    return float(np.mean(means)) if means else None


def _needed(row: Paired, family: int) -> int | None:
    """The groups that would be needed at the strictest step of Holm's correction."""
    return groups_needed(row["by_group"], ALPHA / family) if row["groups"] else None


def _summary(
    judged: Sequence[Judged],
    tables: Sequence[Sequence[Row]],
    pairs: Sequence[Paired],
    exploratory: Sequence[Paired],
) -> Found:
    first = judged[0].metrics

    def plain(row: Paired) -> Paired:
        return {key: value for key, value in row.items() if key not in ("per_image", "by_group")}

    return {
        "compared": {
            one.name: {"evaluation": str(one.folder), "bundle": one.bundle.get("hash"), "run": str(one.run or "")}
            for one in judged
        },
        "split": first.get("split"),
        "count": len(tables[0]),
        "groups": len({row.get("group") or row["image"] for row in tables[0]}),
        "data_hash": first.get("data_hash"),
        "refused": first.get("refused", []),
        "alpha": ALPHA,
        "family": len(pairs),
        "methods": methods(len(judged), pairs, first.get("split")),
        "comparisons": [plain(row) for row in pairs],
        "exploratory": [plain(row) for row in exploratory],
        "versions": versions(),
        "commit": commit(),
    }
