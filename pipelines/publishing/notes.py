"""What no file can tell of weights, and a person has to write: ``model_card.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..core.errors import InputError, UnknownNameError

NOTES = ("intended_use", "not_for", "factors", "data", "pretraining", "worst_cases", "ethics", "caveats")
"""``data`` is a list, of mappings with ``name``, ``licence`` and ``citation``; all others are text."""
_OF_DATA = ("name", "licence", "citation")


def read_notes(path: Path) -> dict[str, Any]:
    """The notes of a YAML file.

    Raises:
        InputError: it cannot be read, or something in it is not as it should be.
        UnknownNameError: it holds what no model card has.
    """
    remedy = f"write a YAML mapping of {', '.join(NOTES)}"
    try:
        notes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(path, f"cannot be read ({type(error).__name__})", remedy) from error
    if not isinstance(notes, dict):
        raise InputError(path, "holds no mapping", remedy)
    for name in notes:
        if name not in NOTES:
            raise UnknownNameError("note", str(name), NOTES)
    data = notes.get("data", [])
    if not isinstance(data, list) or not all(isinstance(one, dict) and set(one) == set(_OF_DATA) for one in data):
        raise InputError(path, "has data that is no list of data sets", f"give each {', '.join(_OF_DATA)}")
    texts = {name: value for name, value in notes.items() if name != "data"}
    if wrong := [name for name, value in texts.items() if not isinstance(value, str)]:
        raise InputError(path, f"has {wrong[0]} that is no text", "write sentences")
    return {**{name: value.strip() for name, value in texts.items()}, "data": data}
