"""The node of a hospital's network: takes images, segments them by rules, sends the results; nothing is ever lost."""

from __future__ import annotations

from importlib.util import find_spec

from ...installation import install
from ..core.errors import DelineateError

_NEEDED = ("dicomweb_client", "highdicom", "prometheus_client", "pydantic", "pynetdicom")


def refuse_missing() -> None:
    """See that what a node needs is installed.

    Raises:
        DelineateError: it is not.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        needed = f"a node needs {', '.join(missing)}, not installed here"
        raise DelineateError(f"{needed}; {install('dicom')}")
