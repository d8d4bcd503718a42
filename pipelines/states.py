"""States of a training on disk: the last one and the one before, each with its hash."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .errors import DelineateError, InputError
from .weight_sums import check_sums, move_listed, replacing_listed, settle_sums, write_sums

LAST, PREVIOUS = "last.pt", "previous.pt"

logger = logging.getLogger(__name__)


def save(state: Mapping[str, Any], path: Path, *, alone: bool = False) -> None:
    """Write tensors to ``path`` and its hash to ``SHA256SUMS``; see `replacing_listed`."""
    with replacing_listed(path, alone=alone) as temporary:
        _write(state, temporary)


def save_last(state: Mapping[str, Any], folder: Path) -> None:
    """Write the last state; the one before becomes ``previous.pt``."""
    with replacing_listed(folder / LAST) as temporary:
        _write(state, temporary)
        if (folder / LAST).is_file():
            move_listed(folder / LAST, folder / PREVIOUS)


def load_last(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """The last state in ``folder``, or, where it is damaged, the one before, from which the training is the same.

    Returns:
        the state; ``None`` when there is none.

    Raises:
        DelineateError: no state is left that is whole.
    """
    if not folder.is_dir():
        return None
    settle_sums(folder)
    refused = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        try:
            state = _read(path, device)
        except InputError as error:
            logger.warning(str(error))
            refused.append(error)
            continue
        if path.name == PREVIOUS:
            logger.warning(f"the training goes on from {path}, one epoch earlier")
            move_listed(path, folder / LAST)
        return state
    if refused:
        raise DelineateError(
            "; ".join(f"{error.source}: {error.reason}" for error in refused)
            + "; restore one of them from a backup, or begin a new run in another folder: its beginning may be this "
            "run's best weights, --init-from"
        )
    return None


def adopt_earlier(models: Path, folder: Path) -> None:
    """Move what an earlier version left in ``models/``, where other tools take it for weights, to ``folder``."""
    for path in sorted([*models.glob("last.pt"), *models.glob("epoch_*.pt")]):
        if not (folder / path.name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(path, folder / path.name)
            names = {entry.name for entry in folder.glob("*.pt")}
            write_sums(folder, sorted(names))
            logger.warning(f"{path} is no weights of a bundle; moved to {folder}")


def _write(state: Mapping[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        torch.save(state, file)  # given a path, its random name would be in the file: no two hashes alike


def _read(path: Path, device: str | torch.device) -> dict[str, Any]:
    if wrong := check_sums(path.parent, [path.name]):
        reason = wrong[0].removeprefix(f"{path.name} ").partition("; ")[0]
        raise InputError(path, f"is damaged: it {reason}", "restore it from a backup")
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # of many kinds; torch's own text advises to trust the file
        raise InputError(path, f"holds no state of a training ({type(error).__name__})", "restore it") from error
    if not isinstance(state, dict) or not {"epoch", "iteration", "best_metric", "best_metric_epoch"} <= state.keys():
        raise InputError(path, "holds no state of a training", "restore it")
    return state
