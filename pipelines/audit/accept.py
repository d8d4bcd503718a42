"""``accepted.yaml``: findings that somebody looked at and takes as they are, each with a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..core.errors import InputError, UnknownNameError
from ..core.files import write_atomically

FILE = "accepted.yaml"


def read_accepted(dataset_dir: str | Path) -> dict[str, str]:
    """Reasons by the ids of accepted findings; none where the file is not there.

    Raises:
        InputError: the file is no mapping of ids to reasons.
    """
    return {str(id_): str(reason) for id_, reason in _load(Path(dataset_dir) / FILE).items()}


def accept(dataset_dir: str | Path, names: Sequence[str], reason: str, audit_dir: str | Path | None = None) -> Path:
    """Add findings to ``accepted.yaml``, or give them another reason; comments and order are kept.

    Args:
        dataset_dir: the data set's folder.
        names: ids of findings, or kinds: all findings of a kind that are problems.
        reason: why they may stay.
        audit_dir: where ``audit.json`` is; in the data set's folder where ``None``.

    Returns:
        the file.

    Raises:
        InputError: the file is no mapping of ids to reasons; ``audit.json`` is broken.
        UnknownNameError: the last audit found no such id, and no problem of such a kind.
    """
    path = Path(dataset_dir) / FILE
    accepted = _load(path)
    for name in names:
        accepted.update(dict.fromkeys(_ids(Path(audit_dir or dataset_dir) / "audit.json", name), reason))
    buffer = BytesIO()
    YAML().dump(accepted, buffer)
    write_atomically(path, buffer.getvalue())
    return path


def _ids(audit: Path, name: str) -> list[str]:
    """The id of that name, or those of all problems of that kind; an id is taken as it is where there was no audit."""
    if not audit.is_file():
        return [name]
    try:
        findings = json.loads(audit.read_text(encoding="utf-8"))["findings"]
    except ValueError as error:
        raise InputError(audit, f"is no JSON ({error})", "remove it, and audit the data set again") from error
    ids = [one["id"] for one in findings if name == one["id"] or (name, "problem") == (one["kind"], one["severity"])]
    if not ids:
        raise UnknownNameError("finding", name, dict.fromkeys(one["id"] for one in findings))
    return ids


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
