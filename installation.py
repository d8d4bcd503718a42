"""How Delineate is installed, and so what to do where something is missing; here, at the root, as `errors` is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parent
RUNTIME = "delineate-runtime"


def has_torch() -> bool:
    """Whether this is a full installation; the runtime without torch only segments."""
    return find_spec("torch") is not None


def install(extra: str) -> str:
    """The command that adds an extra to this installation; Delineate is on no package index.

    In a clone it keeps to the clone's ``constraints.txt``; beside an installed wheel pip finds by itself what the
    wheel's extra needs.
    """
    if (_ROOT / "pyproject.toml").is_file():
        folder = "" if Path.cwd() == _ROOT else f"{_ROOT}/"
        return f'pip install -c {folder}constraints.txt -e "{folder.rstrip("/") or "."}[{extra}]"'
    name = "delineate" if has_torch() else RUNTIME
    try:
        known = metadata(name).get_all("Provides-Extra") or []
    except PackageNotFoundError:
        known = []
    return f'pip install "{name}[{extra}]"' if extra in known or has_torch() else f"pip install {extra}"
