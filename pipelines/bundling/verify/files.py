"""Which files a bundle may hold: nothing that runs, and weights that are tensors and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ...core.pages import is_harmless_page
from ...core.sums import check_sums
from .findings import Finding
from .listing import HEAD, Entry, is_passed_over, too_large
from .logs import logging_problems
from .tensors import weights_problem

_CODE = re.compile(
    r"\.(py\w?|pth|ipynb|so|dll|dylib|exe|sh|bash|bat|cmd|ps1|js|jar|html?|pkl|pickle|joblib|npy|npz|whl|egg"
    r"|zip|tar|gz|bz2|xz|tgz|7z|rar)"
)
_TEXT = ("LICENSE", "SHA256SUMS", "*.md", "*.txt", "*.json", "*.yaml", "*.conf", "*.csv", "*.log")
_OTHER = ("events.out.tfevents.*",)
_LEFT = (f".{'[0-9a-f]' * 32}.tmp", "*.lock")  # by a process that was killed; nobody reads them
_GRAPHS = ("models/*.onnx", "models/*.onnx.data", "models/*.ts", "models/*.pt2", "models/*.xml", "models/*.bin")
_WEIGHTS = ("models/*.pt", "checkpoints/*.pt", *_GRAPHS)


def check_files(entries: Iterable[Entry], shipping: bool = True) -> Iterator[Finding]:
    """Yield a finding for every file that does not belong in a bundle.

    Args:
        entries: what lies in the bundle's folder.
        shipping: whether the bundle is to be given away: then the cache of a training must not be in it.
    """
    for entry in entries:
        problem = _problem(entry, shipping)
        if problem:
            yield Finding(entry.name, 1, "code", problem)


def check_logging(entries: Iterable[Entry]) -> Iterator[Finding]:
    """Yield findings of every ``*.conf``: Python's logging evaluates its ``class``, ``args`` and the like."""
    for entry in entries:
        if entry.kind == "file" and entry.is_like("*.conf") and not too_large(entry):
            for line, problem in logging_problems(entry.path):
                yield Finding(entry.name, line, "code", problem)


def _problem(entry: Entry, shipping: bool) -> str | None:
    if entry.kind == "link":
        return "a symbolic link; put the file itself in its place"
    if entry.kind == "folder":
        if entry.name == "cache":
            cached = "cached items of a training are images and paths of its data; remove cache/ before shipping"
            return cached if shipping else None
        return "compiled Python; remove the folder" if is_passed_over(entry.name) else None
    if entry.kind == "other":
        return "a pipe, device or socket; remove it"
    if entry.is_pixels or entry.is_like(*_LEFT):
        return None
    if problem := too_large(entry):
        return problem
    if entry.is_like("*.html") and not entry.name.startswith("configs/") and is_harmless_page(_start(entry.path)):
        return None  # a report of ours, which forbids the browser every other script and all loading
    state = entry.top == "checkpoints" and entry.is_like("*.pt")
    if state and not shipping and check_sums(entry.path.parent, [entry.base]):
        return None  # damaged: it is refused by its hash, and the state before it is taken
    return _name_problem(entry.name) or _content_problem(entry.path, entry.name)


def _name_problem(relative: str) -> str | None:
    name = PurePosixPath(relative).name
    suffix = PurePosixPath(name).suffix.lower()
    if _CODE.fullmatch(suffix):
        return f"a {suffix} file can carry code; remove it: a bundle is configuration, weights and text"
    if suffix == ".yml":
        return "MONAI's tools look for .yaml; rename it to .yaml"
    if suffix == ".pt" and not relative.startswith(("models/", "checkpoints/")):
        return "weights outside models/; move it there"
    if any(fnmatchcase(name, pattern) for pattern in (*_TEXT, *_OTHER)) and not name.startswith("."):
        return None
    if any(fnmatchcase(relative, pattern) for pattern in _WEIGHTS):
        return None
    return "a kind of file that does not belong in a bundle; remove it"


def _content_problem(path: Path, relative: str) -> str | None:
    if relative.endswith(".pt"):
        return weights_problem(path)
    head = _start(path)
    if any(fnmatchcase(path.name, pattern) for pattern in _TEXT) and (b"\0" in head or head.startswith(b"#!")):
        return "not plain text; remove it"
    return None


def _start(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(HEAD)
