"""How an evaluation was made, in sentences that can stand in a methods section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import counted
from ..datasets.splitting.splits import split_words
from .metrics import METRICS
from .values import is_score

_PACKAGES = {"delineate": "Delineate", "monai": "MONAI", "torch": "PyTorch"}


def protocol(metrics: Mapping[str, Any]) -> str:
    """Split, images, groups, grid, metrics, empty masks, intervals and versions, from what ``metrics.json`` holds."""
    refused = len(metrics["refused"])
    could_not = f" ({counted(refused, 'other image')} could not be read)" if refused else ""
    structures = metrics.get("structures") or {}
    of_structures = f" for each of {', '.join(structures)}" if structures else ""
    settings = metrics.get("settings") or {}
    over = [counted(len(metrics["members"]), "network")] if metrics.get("members") else []
    over += [f"{metrics['tta']} of the image"] if metrics.get("tta") else []
    means = f" Probabilities are means over {' and '.join(over)}." if over else ""
    counts = f"{counted(metrics['count'], 'image')} of {counted(metrics['groups'], 'group')}"
    every, were = ("The", "was") if metrics["count"] == 1 else ("All", "were")
    return (
        f"{every} {counts} (patients, lesions or volumes, as far as the data name them) "
        f"{_split(metrics)}{could_not} {were} scored on "
        f"{metrics['grid'].replace('own', 'own grid')}{of_structures}: {', '.join(_titles(metrics))}."
        f"{means}{_seen(metrics)}{_drafts(metrics)}{_unfamiliar(metrics)} "
        f"Empty masks were decided before any metric was computed, and {_left_out(metrics)}: where reference and "
        "prediction are both empty, overlap and surface Dice are 1 and distances 0; where one of them is, overlap is 0 "
        f"and distances are the image's diagonal. {_intervals(metrics)}{_tolerance(metrics, settings)}. "
        f"{_versions(metrics)}."
    )


def _intervals(metrics: Mapping[str, Any]) -> str:
    if metrics["groups"] == 1:
        return "Means have no intervals, because a bootstrap over groups needs more than one group"
    parts = [metrics, *(metrics.get("structures") or {}).values()]
    level = any(one["ci95"] and one["share"] in (0, 1) for part in parts for one in part.get("failures") or ())
    exact = "; where none or all images failed, the share has the exact (Clopper-Pearson) interval of the groups"
    return (
        "Means are given with 95 % percentile bootstrap intervals over groups (10,000 resamples, seed 0)"
        + exact * level
    )


def _seen(metrics: Mapping[str, Any]) -> str:
    if not (again := metrics.get("seen_in_training")):
        return ""
    return f" The network has seen {again} of them in its training, so the scores are too good."


def _drafts(metrics: Mapping[str, Any]) -> str:
    return f" {text[0].upper()}{text[1:]}." if (text := drafts_text(metrics.get("drafts", 0))) else ""


def drafts_text(number: int) -> str:
    """What masks that nobody changed do to scores: a network that drew them agrees with them."""
    return (
        f"of {counted(number, 'image')} the mask is as Delineate drew it, so the scores may be too good"
        if number
        else ""
    )


def _unfamiliar(metrics: Mapping[str, Any]) -> str:
    """What is unlike the training images counts like the rest."""
    known = metrics.get("familiar")
    return f" {known['unfamiliar']} of {known['count']} were unlike the training images, and count." if known else ""


def _left_out(metrics: Mapping[str, Any]) -> str:
    """Where nobody annotated a structure, an image does not count for it."""
    parts = (metrics.get("structures") or {}).values()
    if all(part["count"] == metrics["count"] for part in parts):
        return "no image was left out"
    return "an image counts for the structures that are annotated in it, and for these none was left out"


def _split(metrics: Mapping[str, Any]) -> str:
    known = metrics.get("cross_validation")
    if not known:
        return f"in {split_words(metrics['split'])}"
    seeds = known["seeds"]
    repeated = f", repeated with the seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f", seed {seeds[0]}"
    return (
        f"in a {known['folds']}-fold cross-validation{repeated}, each by a network whose training and choice of the "
        "epoch saw no image of its group,"
    )


def _titles(metrics: Mapping[str, Any]) -> list[str]:
    """What was measured, once however many units it has."""
    scored = [name for name, score in metrics.items() if is_score(score)]
    scored = [name for name in scored if metrics[name]["value"] is not None]
    return list(dict.fromkeys(METRICS[name].title if name in METRICS else name for name in scored))


def _tolerance(metrics: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if (metrics.get("nsd_mm") or {}).get("value") is None:
        return ""
    return f"; the normalised surface Dice in mm has a tolerance of {settings.get('tolerance_mm', 2.0):g} mm"


def _versions(metrics: Mapping[str, Any]) -> str:
    versions = versions_of(metrics)
    known = ((title, versions[name]) for name, title in _PACKAGES.items() if name in versions)
    return ", ".join(f"{title} {' and '.join(seen)}" for title, seen in known)


def versions_of(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """Of each package its version; several where evaluations that were merged had others."""
    recorded = metrics.get("versions") or {}
    found: dict[str, list[str]] = {}
    for one in [recorded] if isinstance(recorded, Mapping) else recorded:
        for name, version in one.items():
            seen = found.setdefault(name, [])
            seen += [str(version)] if str(version) not in seen else []
    return found
