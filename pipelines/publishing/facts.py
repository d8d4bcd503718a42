"""What a model card tells, from the files of a run, of its data set and of its evaluations; no number is typed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ..core.errors import DelineateError, InputError, printable
from ..datasets.datalist import Datalist
from ..evaluation.evaluation import SUMMARY
from ..evaluation.headline import main_metrics

Facts = dict[str, Any]

_OF_SCORE = ("value", "ci95", "count")
_OF_EVALUATION = ("split", "count", "groups", "failures", "seen_in_training", "familiar", "cross_validation", "tta")
_OF_SESSION = ("versions", "commit", "device", "initial_weights")


def training_facts(sessions: Sequence[Mapping[str, Any]], network: nn.Module, data: Path) -> Facts:
    """How a run was trained, and on what.

    Args:
        sessions: of its record.
        network: its own.
        data: the data set that it was trained on.

    Raises:
        DelineateError: the data set is not there, or another one.
    """
    last = sessions[-1]
    parameters = sum(one.numel() for one in network.parameters())
    return {
        "network": {"name": type(network).__name__, "parameters": parameters},
        "epochs": last["epochs"],
        "best": last["best"],
        "hours": round(sum(one.get("seconds", 0) for one in sessions) / 3600, 2),
        **{key: last[key] for key in _OF_SESSION if last.get(key) is not None},
        "pretrained": Path(str(last["settings"].get("pretrained"))).name,  # not where it lay
        "data": _dataset(data, last["data_hash"]),
    }


def _dataset(folder: Path, wanted: str) -> Facts:
    remedy = "name the data set of the training with --data"
    try:
        datalist = Datalist.read(folder)
    except DelineateError as error:
        raise DelineateError(f"{error}; {remedy}") from error
    if datalist.hash != wanted:
        raise DelineateError(f"{printable(folder)} is not what the run was trained on (its hash differs); {remedy}")
    places = [(str(place), item) for place, item in datalist.labelled()]
    groups: dict[str, set[str]] = {}
    for place, item in places:
        groups.setdefault(place, set()).add(item.group)
    return {
        "name": datalist.name,
        "hash": datalist.hash,
        "images": dict(Counter(place for place, _ in places)),
        "groups": {place: len(found) for place, found in groups.items()},
        "sources": dict(Counter(item.source for _, item in places if item.source)),
        "classes": dict(Counter(item.class_name for _, item in places if item.class_name)),
    }


def evaluation_facts(folder: Path, hashes: Sequence[str]) -> Facts:
    """What an evaluation says of these weights, or a cross-validation of others that were trained alike.

    Args:
        folder: of the evaluation, or of a cross-validation.
        hashes: those of the bundle, before and after it was published.

    Raises:
        InputError: the folder holds no evaluation.
        DelineateError: it is of other weights.
    """
    folder = folder if (folder / SUMMARY).is_file() else folder / "evaluation"
    try:
        metrics = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        kept = {key: metrics[key] for key in _OF_EVALUATION if key in metrics}
    except (OSError, ValueError, TypeError) as error:
        reason = f"holds no evaluation that can be read ({type(error).__name__})"
        raise InputError(folder, reason, "name the folder of one: delineate evaluate ... --out") from error
    if not metrics.get("cross_validation") and (metrics.get("bundle") or {}).get("hash") not in hashes:
        raise DelineateError(
            f"{printable(folder)} is an evaluation of other weights, or of another configuration; evaluate this run: "
            "delineate evaluate RUN --data DATASET --out DIR"
        )
    if cross := kept.get("cross_validation"):
        kept["cross_validation"] = {key: cross[key] for key in ("folds", "seeds", "test_kept_apart")}
    names = main_metrics(metrics)
    kept |= {"data": metrics.get("data_name") or "a data set", "data_hash": metrics.get("data_hash"), "metrics": names}
    return kept | {"rows": _rows(metrics, names)}


def _rows(metrics: Mapping[str, Any], names: Sequence[str]) -> list[Facts]:
    """All images, each structure, each subgroup: how many images, and their scores."""
    parts = {"all images": metrics} | dict(metrics.get("structures") or {})
    for column, values in (metrics.get("subgroups") or {}).items():
        parts |= {f"{column}: {value}": one for value, one in values.items()}
    return [
        {"of": of, "count": one.get("count"), "groups": one.get("groups"), "scores": _scores(one, names)}
        for of, one in parts.items()
    ]


def _scores(part: Mapping[str, Any], names: Sequence[str]) -> Facts:
    return {name: {key: part[name][key] for key in _OF_SCORE if key in part[name]} for name in names if name in part}
