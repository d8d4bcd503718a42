"""``accepted.yaml``: findings that somebody looked at and takes as they are, each with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..errors import InputError
from ..files import write_atomically

FILE = "accepted.yaml"


def read_accepted(dataset_dir: str | Path) -> dict[str, str]:
    """Reasons by the ids of accepted findings; none where the file is not there.

    Raises:
        InputError: the file is no mapping of ids to reasons.
    """
    return {str(id_): str(reason) for id_, reason in _load(Path(dataset_dir) / FILE).items()}


def accept(dataset_dir: str | Path, ids: Sequence[str], reason: str) -> Path:
    """Add ids to ``accepted.yaml``, or give them another reason; comments and order are kept.

    Returns:
        the file.

    Raises:
        InputError: the file is no mapping of ids to reasons.
    """
    path = Path(dataset_dir) / FILE
    accepted = _load(path)
    accepted.update(dict.fromkeys(ids, reason))
    buffer = BytesIO()
    YAML().dump(accepted, buffer)
    write_atomically(path, buffer.getvalue())
    return path


def _load(path: Path) -> Any:
    if not path.exists():
        return {}
    needed = "write a line 'ID: reason' for each accepted finding"
    try:
        accepted = YAML().load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(path, f"is no YAML ({' '.join(str(error).split())})", needed) from error
    if accepted is None:
        return {}
    if not isinstance(accepted, dict):
        raise InputError(path, "is no mapping", needed)
    for id_, reason in accepted.items():
        if not isinstance(reason, str) or not reason.strip():
            raise InputError(path, f"gives no reason for {id_}", needed)
    return accepted
