"""States of a training on disk: the last one and the one before, each with its hash."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.devices import refuse_missing
from ..core.errors import DelineateError, InputError
from ..core.finite import not_finite
from ..core.sums import check_sums, move_listed, replacing_listed, settle_sums, sha256, write_sums

LAST, PREVIOUS, INITIAL = "last.pt", "previous.pt", "initial.pt"

logger = logging.getLogger(__name__)


def save(state: Mapping[str, Any], path: Path, *, alone: bool = False) -> None:
    """Write tensors to ``path`` and its hash to ``SHA256SUMS``; see `replacing_listed`."""
    with replacing_listed(path, alone=alone) as temporary:
        write_state(state, temporary)


def save_last(state: Mapping[str, Any], folder: Path) -> None:
    """Write the last state; the one before becomes ``previous.pt``."""
    with replacing_listed(folder / LAST) as temporary:
        write_state(state, temporary)
        if (folder / LAST).is_file():
            move_listed(folder / LAST, folder / PREVIOUS)


def settle_last(folder: Path) -> Path | None:
    """The last state in ``folder``; where it is damaged, the one before takes its place: it ends in the same weights.

    Returns:
        its path; ``None`` when there is none.

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
        if wrong := check_sums(folder, [path.name]):
            refused.append(f"{path} is damaged: it {wrong[0].removeprefix(f'{path.name} ').partition('; ')[0]}")
            logger.warning(refused[-1])
            continue
        if path.name == PREVIOUS:
            logger.warning(f"the training goes on from {path}, one epoch earlier")
            move_listed(path, folder / LAST)
        return folder / LAST
    if refused:
        raise DelineateError(
            f"{'; '.join(refused)}; restore one of them from a backup, or begin a new run in another folder: "
            "its beginning may be this run's best weights, --init-from"
        )
    return None


def load_last(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any] | None:
    """The last state in ``folder``, see `settle_last`; ``None`` when there is none.

    Raises:
        DelineateError: no state is left that is whole, or this machine has no such device.
        InputError: it is something else.
    """
    path = settle_last(folder)
    if path is None:
        return None
    refuse_missing(device)
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # of many kinds; torch's own text advises to trust the file
        raise InputError(path, f"holds no state of a training ({type(error).__name__})", "restore it") from error
    if not isinstance(state, dict) or not {"epoch", "iteration", "best_metric", "best_metric_epoch"} <= state.keys():
        raise InputError(path, "holds no state of a training", "restore it")
    return state


def began_with(folder: Path) -> str | None:
    """What the encoder of a training was pretrained with when it began, as any of its states in ``folder`` says.

    Returns:
        the source; empty where it began untrained; ``None`` where no state can be read.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            groups = len(state["optimizer"]["param_groups"])
        except Exception:  # of many kinds; `load_last` says it when the training starts
            continue
        return str(state.get("pretrained", "an unknown source" if groups > 1 else ""))  # of before it was noted
    return None


def load_initial(network: nn.Module, folder: Path) -> dict[str, Any] | None:
    """Begin with the weights in ``folder/initial.pt``, if there are any: those of equal names and shapes.

    Returns:
        what the record says of it: the file's hash, how many tensors were taken, and which were not.

    Raises:
        DelineateError: the file is damaged, not finite, or has nothing for this network.
    """
    path = folder / INITIAL
    if not path.is_file():
        return None
    if wrong := check_sums(folder, [path.name]):
        raise DelineateError(f"{folder}: {'; '.join(wrong)}")
    return load_matching(network, path)


def load_matching(network: nn.Module, path: Path) -> dict[str, Any]:
    """Load the weights of equal names and shapes from a file.

    Returns:
        what the record says of it: the file's hash, how many tensors were taken, and which were not.

    Raises:
        DelineateError: the file is damaged, not finite, or has nothing for this network.
    """
    given, own = _tensors(path), network.state_dict()
    taken = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not taken or not_finite(taken):
        reason = "not finite" if taken else "all of other names or shapes than the network's"
        raise DelineateError(f"{path}: its tensors are {reason}; begin with other weights, or without --init-from")
    network.load_state_dict(taken, strict=False)
    left = [name for name in own if name not in taken]
    unused = [name for name in given if name not in taken]
    logger.info(
        f"training begins with {len(taken)} of {len(own)} tensors of {path}; "
        f"as initialised: {_in_brief(left)}; not used: {_in_brief(unused)}"
    )
    return {"sha256": sha256(path), "taken": len(taken), "as_initialised": left, "not_used": unused}


def adopt_earlier(models: Path, folder: Path) -> None:
    """Move what an earlier version left in ``models/``, where other tools take it for weights, to ``folder``."""
    for path in sorted([*models.glob("last.pt"), *models.glob("epoch_*.pt")]):
        if not (folder / path.name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(path, folder / path.name)
            names = {entry.name for entry in folder.glob("*.pt")}
            write_sums(folder, sorted(names))
            logger.warning(f"{path} is no weights of a bundle; moved to {folder}")


def _in_brief(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more or "none"


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors, so that the same ones make the same file."""
    with path.open("wb") as file:
        torch.save(state, file)  # given a path, its random name would be in the file: no two hashes alike


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds
        raise DelineateError(f"{path} holds no state dict of tensors ({type(error).__name__}); name another") from error
    if not isinstance(given, dict):
        raise DelineateError(f"{path} holds a {type(given).__name__}; name a file of network.state_dict()")
    return {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
