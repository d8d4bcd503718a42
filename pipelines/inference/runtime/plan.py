"""What a bundle asks for, read as plain data: nothing that stands in it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...bundling.settings import refuse_unknown, refuse_wrong_values, workflow_config
from ...core.errors import DelineateError, WrongValueError, printable
from ...core.yaml_files import parse_yaml
from ...imaging.pictures import Channels

_SECTIONS = ("to_grid", "to_network", "preprocessing", "inferer", "postprocessing")
"""Those of a workflow that are done here, as `configs/workflows/common.yaml` has them."""


@dataclass(frozen=True)
class Plan:
    """The settings of a bundle's ``inference.yaml`` that decide what its masks are."""

    channels: Channels
    in_channels: int
    image_size: Sequence[int]
    window: Sequence[int]
    structures: Sequence[Mapping[str, Any]]
    exclusive: bool
    slicing: Mapping[str, Any]
    threshold: float | Mapping[str, float] | None
    tta: str | None
    precision: str
    flip_left_right: bool
    upright: bool


def read_plan(bundle: Path, settings: Mapping[str, Any]) -> Plan:
    """Read a bundle that does with images what all bundles of this version do.

    Args:
        bundle: its folder.
        settings: ids of ``inference.yaml`` and their values.

    Raises:
        UnknownNameError: there is no such setting.
        WrongValueError: a setting is of another kind or out of range.
        DelineateError: the bundle prepares images, or makes masks, in a way of its own.
    """
    config = workflow_config(bundle, "inference")
    refuse_unknown(bundle, config, "inference", settings)
    refuse_wrong_values(config | settings)
    common = files("delineate.configs").joinpath("workflows", "common.yaml").read_text(encoding="utf-8")
    usual = parse_yaml(common)
    own = [name for name in _SECTIONS if config.get(name) != usual[name]]
    own += [name for name in settings if name.partition("::")[0] in _SECTIONS or "::" in name]
    if own:
        raise DelineateError(
            f"{printable(bundle)} has a way of its own with images ({printable(', '.join(own))}), which takes torch: "
            "use the full installation; a bundle of an earlier version is to be updated there before its export: "
            "'delineate bundle update'"
        )
    config |= settings
    known = {field.name: _resolved(bundle, config, field.name) for field in fields(Plan)}
    refuse_wrong_values(known)
    return Plan(**known)


def _resolved(bundle: Path, config: Mapping[str, Any], name: str) -> Any:
    """A setting, or what it refers to (``"@image_size"``)."""
    value = config.get(name)
    for _ in config:
        if not isinstance(value, str) or value[:1] != "@":
            break
        value = config.get(value[1:])
    if isinstance(value, str) and value[:1] in ("@", "$"):
        raise WrongValueError(
            f"{printable(bundle)}: {name} is {printable(value)}, which takes MONAI to compute; write the value"
        )
    return value
