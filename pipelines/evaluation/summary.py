"""``metrics.json``: what the scores of single images come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..imaging.structures import Structure
from .intervals import RESAMPLES, exact_interval, means_with_intervals
from .metrics import METRICS, empty_policy
from .precision_recall import precision_recall
from .protocol import protocol
from .scored import OUTCOMES, Evaluation, Floats, numbers
from .subgroups import LEAST, Subgroup, subgroups_of
from .volumes import volumes_of

FAILURES: Mapping[str, float] = {"mean_dice": 0.7, "mean_iou": 0.65}
"""Scores below which an image counts as failed; of the IoU that of the ISIC challenges."""

Key = tuple[str, ...]
Intervals = Mapping[Key, Mapping[str, Any]]

_PIXELS = ("true_positive", "false_positive", "false_negative", "true_negative")
_QUANTILES = {"median": 0.5, "q1": 0.25, "q3": 0.75, "p5": 0.05, "p95": 0.95}


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """What ``metrics.json`` holds, from the rows and sums of an evaluation alone.

    Raises:
        ValueError: there are no images.
    """
    groups, parts, facts = evaluation.groups, _parts(evaluation), dict(evaluation.facts)
    tables = {key: table for part in parts for key, table in part.tables().items()}
    intervals = means_with_intervals(tables, groups)
    whole, *each = [part.summary(intervals, groups) for part in parts]
    found: dict[str, Any] = {
        "split": facts.pop("split", ""),
        "count": len(evaluation.rows),
        "groups": len(set(groups)),
        "refused": facts.pop("refused", []),
        **whole,
        **_named(parts, each),
    }
    if known := [row["familiar"] for row in evaluation.rows if row.get("familiar") is not None]:
        unfamiliar = known.count(0)
        found["familiar"] = {"count": len(known), "unfamiliar": unfamiliar, "share": unfamiliar / len(known)}
    if drafts := sum(row.get("draft") == 1 for row in evaluation.rows):
        found["drafts"] = drafts
    if volumes := volumes_of(evaluation):
        found["volumes"] = _scores_alone(volumes)
    found["worst"] = [_worst(evaluation, rank, one.row) for rank, one in enumerate(evaluation.worst, 1)]
    found |= {
        "grid": "each image's own",
        "empty_masks": empty_policy(evaluation.metrics),
        "interval": _interval(len(set(groups))),
        **facts,
    }
    return found | {"protocol": protocol(found)}


def _interval(groups: int) -> str:
    if groups == 1:
        return "none: there is one group"
    return f"95 % percentile bootstrap over groups, {RESAMPLES} resamples"


def _scores_alone(evaluation: Evaluation) -> dict[str, Any]:
    """Means and intervals without what is beside them, e.g. of volumes."""
    groups, parts = evaluation.groups, _parts(evaluation)
    intervals = means_with_intervals({key: table for part in parts for key, table in part.scores().items()}, groups)
    whole, *each = [part.summary_of_scores(intervals) for part in parts]
    return {"count": len(evaluation.rows), "groups": len(set(groups)), **whole, **_named(parts, each)}


def _parts(evaluation: Evaluation) -> list[_Part]:
    """All structures together and, where there are several, each."""
    count = len(evaluation.suffixes)
    each = [_Part(evaluation, one, [index]) for index, one in enumerate(evaluation.structures)]
    return [_Part(evaluation, None, range(count)), *(each if count > 1 else [])]


def _named(parts: Sequence[_Part], each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is found of each structure, where there are several."""
    if not each:
        return {}
    found = zip(parts[1:], each, strict=True)
    return {"structures": {part.name: {"count": part.annotated, **part.colour, **one} for part, one in found}}


class _Part:
    """All structures of an evaluation together, or one of several.

    Args:
        evaluation: that it is of.
        structure: the one, or ``None``.
        indices: of its structures.
    """

    def __init__(self, evaluation: Evaluation, structure: Structure | None, indices: Sequence[int]) -> None:
        self.name, self._rows = structure.name if structure else "", evaluation.rows
        self.colour = {"colour": list(structure.colour)} if structure and structure.colour else {}
        self._suffixes = [evaluation.suffixes[index] for index in indices]
        self._scores = {name: self._numbers(name) for name in evaluation.metrics}
        limits: Mapping[str, float] = evaluation.settings.get("failures") or FAILURES
        self._limits = {name: limit for name, limit in limits.items() if name in self._scores}
        self._subgroups = subgroups_of(evaluation, self._suffixes)
        sums = evaluation.histograms
        self._histogram = None if sums is None or len(indices) > 1 else sums[indices[0]]

    @property
    def annotated(self) -> int:
        """In how many images the structure is annotated."""
        return int(np.isfinite(self._numbers("reference_pixels")).any(1).sum())

    def scores(self) -> dict[Key, Floats]:
        """The scores, (N, S), of which there are means."""
        return {(self.name, "score", name): table for name, table in self._scores.items()}

    def tables(self) -> dict[Key, Floats]:
        """All that there are means of: scores, failures, and the scores of subgroups."""
        found = self.scores()
        for name, limit in self._limits.items():
            found[self.name, "failure", name] = _failed(name, self._of_images(name), limit)
        for one in self._subgroups:
            if one.members.sum() >= LEAST:
                for name, table in self._scores.items():
                    inside = np.where(one.members[:, None], table, np.nan)
                    found[self.name, "subgroup", one.column, one.value, name] = inside
        return found

    def summary_of_scores(self, intervals: Intervals) -> dict[str, Any]:
        """Mean, interval and quartiles of each score."""
        return {name: self._score(name, intervals) for name in self._scores}

    def summary(self, intervals: Intervals, groups: Sequence[str]) -> dict[str, Any]:
        """What ``metrics.json`` says of it."""
        found = self.summary_of_scores(intervals)
        found["failures"] = [self._failure(name, limit, intervals, groups) for name, limit in self._limits.items()]
        found |= {"images": self._images(), "pixels": self._pixels()}
        if np.isfinite(self._numbers("reference_lesions")).any():
            found["lesions"] = self._lesions()
        found["subgroups"] = {}
        for one in self._subgroups:
            of_column = found["subgroups"].setdefault(one.column, {})
            of_column[one.value] = self._subgroup(one, intervals, groups)
        return found if self._histogram is None else {**found, "curve": precision_recall(self._histogram)}

    def _numbers(self, name: str) -> Floats:
        """A column of each structure, (N, S)."""
        return numbers(self._rows, [f"{name}{suffix}" for suffix in self._suffixes])

    def _of_images(self, name: str) -> Floats:
        """A score of each image, (N,); of several structures their mean."""
        return numbers(self._rows, [name if len(self._suffixes) > 1 else f"{name}{self._suffixes[0]}"])[:, 0]

    def _score(self, name: str, intervals: Intervals) -> dict[str, Any]:
        """Mean and interval, and how the images are distributed."""
        values = self._of_images(name)
        values = values[np.isfinite(values)]
        quantiles = np.quantile(values, list(_QUANTILES.values())).tolist() if len(values) else [None] * 5
        found = {**intervals[self.name, "score", name], **dict(zip(_QUANTILES, quantiles, strict=True))}
        missing = np.isfinite(self._numbers("reference_pixels")) & ~np.isfinite(self._scores[name])
        undefined = {"undefined": int(missing.sum())} if missing.any() and name not in METRICS else {}
        return {**found, "count": len(values), **undefined}

    def _failure(self, name: str, limit: float, intervals: Intervals, groups: Sequence[str]) -> dict[str, Any]:
        """How many images failed; the share has an interval where there are several groups, as all means have."""
        failed, found = _failed(name, self._of_images(name), limit), intervals[self.name, "failure", name]
        side, share, ci95 = "below" if higher_is_better(name) else "above", found["value"], found["ci95"]
        if ci95 and share in (0, 1):
            scored = {group for group, known in zip(groups, np.isfinite(failed), strict=True) if known}
            ci95 = exact_interval(share, len(scored))
        return {"metric": name, side: limit, "count": int(np.nansum(failed)), "share": share, "ci95": ci95}

    def _images(self) -> dict[str, int]:
        """Images, or structures in images, by outcome; and those found in which the two masks share no pixel."""
        of_all = Counter(row.get(f"outcome{suffix}") for row in self._rows for suffix in self._suffixes)
        found = {name.replace(" ", "_"): of_all[name] for name in OUTCOMES}
        reference, predicted, both = self._sizes()
        return found | {"found_without_overlap": int(((reference > 0) & (predicted > 0) & (both == 0)).sum())}

    def _pixels(self) -> dict[str, int]:
        """Pixels of all images, of structures that are annotated."""
        reference, predicted, both = self._sizes()
        sides = (both, predicted - both, reference - both, self._every() - predicted - reference + both)
        return {name: int(np.nansum(side)) for name, side in zip(_PIXELS, sides, strict=True)}

    def _sizes(self) -> tuple[Floats, Floats, Floats]:
        """Pixels of reference, prediction and both, (N, S); NaN where a structure is not annotated."""
        reference, predicted, both = (
            self._numbers(f"{which}_pixels") for which in ("reference", "predicted", "overlap")
        )
        return reference, np.where(np.isfinite(reference), predicted, np.nan), both

    def _every(self) -> Floats:
        return numbers(self._rows, ["pixels"])

    def _lesions(self) -> dict[str, Any]:
        """Lesions of all images together."""
        reference, predicted, matched = (
            int(np.nansum(self._numbers(f"{which}_lesions"))) for which in ("reference", "predicted", "matched")
        )
        ratios = {"precision": (matched, predicted), "recall": (matched, reference)}
        ratios["f1"] = (2 * matched, reference + predicted)
        found: dict[str, Any] = {"reference": reference, "predicted": predicted, "matched": matched}
        return found | {name: part / whole if whole else None for name, (part, whole) in ratios.items()}

    def _subgroup(self, one: Subgroup, intervals: Intervals, groups: Sequence[str]) -> dict[str, Any]:
        """How many images it has, and, of enough of them, the scores."""
        members = np.flatnonzero(one.members).tolist()
        found: dict[str, Any] = {"count": len(members), "groups": len({groups[index] for index in members})}
        found |= {"share": list(one.share)} if one.share else {}
        if len(members) >= LEAST:
            keys = {name: (self.name, "subgroup", one.column, one.value, name) for name in self._scores}
            found |= {name: dict(intervals[key]) for name, key in keys.items()}
        return found


def higher_is_better(name: str) -> bool:
    """Whether it is so of a score; of one that is not known here it is taken to be."""
    return name not in METRICS or METRICS[name].higher_is_better


def _failed(name: str, values: Floats, limit: float) -> Floats:
    """1 where an image failed, 0 where not, NaN where there is no score."""
    failed = values < limit if higher_is_better(name) else values > limit
    return np.where(np.isfinite(values), failed.astype(np.float64), np.nan)


def _worst(evaluation: Evaluation, rank: int, index: int) -> dict[str, Any]:
    row = evaluation.rows[index]
    known = {key: row[key] for key in ("image", "slice", "mean_dice") if row.get(key) is not None}
    return {"row": index, **known, "picture": f"figures/worst_{rank:02d}.png"}
