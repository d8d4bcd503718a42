"""Rule structures: they are sound, the network has a channel each, and the metadata name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...core.errors import DelineateError, WrongValueError
from ...imaging.structures import Structure, channels_of, structures_of, thresholds_of
from .config import MISSING, Config, look_up
from .expressions import is_expression

CHANNEL_DEF = "network_data_format::outputs::pred::channel_def"


def structure_problems(config: Config) -> Iterator[tuple[str, str]]:
    """The id and the problem of what does not go together in a workflow; nothing where it names no structures."""
    structures = config.resolved("structures")
    if structures is MISSING:
        return
    exclusive, channels, threshold = (config.resolved(id_) for id_ in ("exclusive", "out_channels", "threshold"))
    if not isinstance(exclusive, bool):
        yield "exclusive", f"exclusive is {_quoted(exclusive)}; write true or false"
        return
    try:
        known = _known(structures)
    except DelineateError as error:
        yield "structures", str(error)
        return
    if isinstance(channels, int) and channels != (needed := len(known) + exclusive):
        background = " and the background" if exclusive else ""
        yield "out_channels", f"out_channels is {channels} for {len(known)} structures{background}; write {needed}"
    try:
        if threshold is not MISSING and not is_expression(threshold):
            thresholds_of(known, threshold, exclusive)
    except DelineateError as error:
        yield "threshold", str(error)


def channel_problem(metadata: Config, config: Config) -> str | None:
    """What is wrong with the names of channels in the metadata, for a workflow that names structures."""
    structures, exclusive = config.resolved("structures"), config.resolved("exclusive")
    try:
        known = _known(structures)
    except DelineateError:
        return None  # of which `structure_problems` tells
    said, names = look_up(metadata.data, CHANNEL_DEF), channels_of(known, exclusive is True)
    if said == names:
        return None
    return f"{CHANNEL_DEF} is {_quoted(said)}, but the structures give {names}; write those"


def _known(structures: Any) -> tuple[Structure, ...]:
    known = structures_of(structures) if isinstance(structures, list) else ()
    if not known:
        raise WrongValueError(f"structures is {_quoted(structures)}; write a list of mappings, e.g. [{{name: heart}}]")
    return known


def _quoted(value: Any) -> str:
    return "missing" if value is MISSING else repr(value)[:200]
