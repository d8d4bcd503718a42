"""YAML of bundles that were let in, read by libyaml where PyYAML has it: a tenth of the time, the same values.

What a stranger wrote is read by `bundling.verify`, by the code that MONAI reads it with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """What a file says, as plain data."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """What a text says, as plain data."""
    return yaml.load(text, _LOADER)
