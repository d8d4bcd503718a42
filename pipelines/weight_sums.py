"""`models/SHA256SUMS`: which weights a bundle was shipped with, in the format of coreutils' `sha256sum`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from .files import write_atomically

SUMS = "SHA256SUMS"
MUST_BE_LISTED = ("*.pt", "*.onnx", "*.onnx.data", "*.ts")
TRAINING_CHECKPOINTS = ("last.pt", "*epoch_*.pt", "checkpoint_*.pt")  # of a run; they need not be listed

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 lower-case hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_sums(models: Path, names: Sequence[str]) -> Path:
    """Write ``SHA256SUMS`` for the named files, in one step: a reader sees the old file or the new one.

    Args:
        models: the bundle's folder of weights.
        names: the files to list, relative to `models`, e.g. ``["model.pt"]``.

    Returns:
        The path of the file written.

    Raises:
        OSError: a named file cannot be read, or the folder not written.
    """
    text = "".join(f"{sha256(models / name)}  {name}\n" for name in sorted(set(names)))
    write_atomically(models / SUMS, text.encode())
    return models / SUMS


def check_sums(models: Path, names: Collection[str] | None = None) -> list[str]:
    """Compare the weights with ``SHA256SUMS``.

    Args:
        models: the bundle's folder of weights; it may be missing.
        names: only these files, relative to `models`; all where ``None``.

    Returns:
        What is wrong, one message a file; empty when all is well or there are no weights.
    """
    return [message for _, message in sum_problems(models, names)]


def sum_problems(models: Path, names: Collection[str] | None = None) -> list[tuple[int, str]]:
    """As `check_sums`, each message with its line in ``SHA256SUMS`` (1 where a line is missing)."""
    listed, problems = _read_sums(models / SUMS)
    for name, (line, expected) in listed.items():
        if names is None or name in names:
            problem = _entry_problem(models, name, expected)
            if problem:
                problems.append((line, problem))
    for path in sorted(models.rglob("*")):
        name = path.relative_to(models).as_posix()
        wanted = name in names if names is not None else path.is_file() and _must_be_listed(path.name)
        if wanted and name not in listed:
            problems.append((1, f"{name} is not listed; add it with `sha256sum {name} >> {SUMS}` in models/"))
    return problems


def _read_sums(path: Path) -> tuple[dict[str, tuple[int, str]], list[tuple[int, str]]]:
    """Return name -> (line, hash), and the lines that cannot be read."""
    listed: dict[str, tuple[int, str]] = {}
    problems: list[tuple[int, str]] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if not match:
            problems.append((number, "not a line of sha256sum; write 64 hex digits, two spaces and a file name"))
        elif match[2] in listed:
            problems.append((number, f"{match[2]} is listed twice; keep one line"))
        else:
            listed[match[2]] = (number, match[1].lower())
    return listed, problems


def _entry_problem(models: Path, name: str, expected: str) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return f"{name} leads out of models/; list files of models/ only"
    if (models / name).is_symlink() or not (models / name).is_file():
        return f"{name} is listed but missing; put the file back or drop its line"
    if sha256(models / name) != expected:
        return f"{name} has another SHA-256 than listed; restore the file, or list its hash anew if you trust it"
    return None


def _must_be_listed(name: str) -> bool:
    wanted = any(fnmatchcase(name, pattern) for pattern in MUST_BE_LISTED)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in TRAINING_CHECKPOINTS)
