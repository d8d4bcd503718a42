"""`models/SHA256SUMS`: which weights a bundle was shipped with, in the format of coreutils' `sha256sum`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from .files import replacing, write_atomically

SUMS = "SHA256SUMS"
MUST_BE_LISTED = ("*.pt", "*.onnx", "*.onnx.data", "*.ts", "*.pt2", "*.xml", "*.bin")
TRAINING_CHECKPOINTS = ("last.pt", "*epoch_*.pt", "checkpoint_*.pt")  # of runs begun earlier; they need not be listed

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")
_NEXT = re.compile(r"# next: ([0-9a-f]{64})  (.+)")  # to sha256sum a comment: what a file is about to become


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
    _write(models, {name: sha256(models / name) for name in names})
    return models / SUMS


@contextmanager
def replacing_listed(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """As `files.replacing`, for a file that ``SHA256SUMS`` beside it lists.

    File and list cannot change in one step. So the list first names the new hash, too, in a comment; whenever the
    process is killed, the file is the old or the new one, and both are listed.

    Args:
        path: the file to be replaced, or made.
        alone: list nothing else from now on: what was exported from the weights before is not of these.
    """
    with replacing(path) as temporary:
        yield temporary
        digest = sha256(temporary)
        others = _settled(path.parent)
        if path.is_file() and path.name not in others:
            others[path.name] = sha256(path)
        _write(path.parent, others, {path.name: digest})
    _write(path.parent, ({} if alone else others) | {path.name: digest})


def move_listed(old: Path, new: Path) -> None:
    """Rename a listed file within its folder, over an older one, with its line in ``SHA256SUMS``."""
    listed = _settled(old.parent)
    digest = listed.pop(old.name, None) or sha256(old)
    _write(old.parent, listed, {new.name: digest, old.name: digest})
    os.replace(old, new)
    _write(old.parent, listed | {new.name: digest})


def settle_sums(folder: Path) -> None:
    """Bring the ``SHA256SUMS`` of a folder whose writer was killed up to date; nobody else may write there."""
    if any(len(hashes) > 1 for _, hashes in _read_sums(folder / SUMS)[0].values()):
        _write(folder, _settled(folder))


def _settled(folder: Path) -> dict[str, str]:
    """Name -> hash; of a file that was about to change, the one that it has; without those that went."""
    settled = {}
    for name, (_, hashes) in _read_sums(folder / SUMS)[0].items():
        if len(hashes) > 1 and (folder / name).is_file():
            found = sha256(folder / name)
            settled[name] = found if found in hashes else hashes[0] or hashes[-1]
        elif len(hashes) == 1:
            settled[name] = hashes[0]
    return settled


def _write(folder: Path, listed: Mapping[str, str], following: Mapping[str, str] | None = None) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(listed.items())]
    lines += [f"# next: {digest}  {name}\n" for name, digest in sorted((following or {}).items())]
    write_atomically(folder / SUMS, "".join(lines).encode())


def check_sums(models: Path, names: Collection[str] | None = None) -> list[str]:
    """Compare the weights with ``SHA256SUMS``.

    Args:
        models: the bundle's folder of weights; it may be missing.
        names: only these files, relative to `models`; all where ``None``.

    Returns:
        What is wrong, one message a file; empty when all is well or there are no weights.
    """
    return [message for _, message in sum_problems(models, names)]


def sum_problems(
    models: Path, names: Collection[str] | None = None, must: Collection[str] = MUST_BE_LISTED
) -> list[tuple[int, str]]:
    """As `check_sums`, each message with its line in ``SHA256SUMS`` (1 where a line is missing).

    Args:
        models: as in `check_sums`.
        names: as in `check_sums`.
        must: patterns of the files that have to be listed, where ``names`` are not given.
    """
    listed, problems = _read_sums(models / SUMS)
    for name, (line, hashes) in listed.items():
        if names is None or name in names:
            problem = _entry_problem(models, name, hashes)
            if problem:
                problems.append((line, problem))
    for path in sorted(models.rglob("*")):
        name = path.relative_to(models).as_posix()
        wanted = name in names if names is not None else path.is_file() and _must_be_listed(path.name, must)
        if wanted and name not in listed:
            problems.append((1, f"{name} is not listed; {_remedy(name)}"))
    return problems


def _remedy(name: str) -> str:
    add = f"add it with `sha256sum {name} >> {SUMS}` in models/"
    if name.endswith((".pt", ".onnx.data", ".json")):
        return add
    return f"write it with `delineate export`, which lists it, or, if you trust what wrote it, {add}"


def _read_sums(path: Path) -> tuple[dict[str, tuple[int, list[str]]], list[tuple[int, str]]]:
    """Return name -> (line, hashes), and the lines that cannot be read.

    A file that its writer is about to replace has several hashes: the old one, or "" for none, and the next.
    """
    listed: dict[str, tuple[int, list[str]]] = {}
    problems: list[tuple[int, str]] = []
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for number, line in enumerate(text.splitlines(), start=1):
        if following := _NEXT.fullmatch(line):
            listed.setdefault(following[2], (number, [""]))[1].append(following[1])
            continue
        match = _LINE.fullmatch(line)
        if not match:
            problems.append((number, "not a line of sha256sum; write 64 hex digits, two spaces and a file name"))
        elif match[2] in listed:
            problems.append((number, f"{match[2]} is listed twice; keep one line"))
        else:
            listed[match[2]] = (number, [match[1].lower()])
    return listed, problems


def _entry_problem(models: Path, name: str, hashes: Sequence[str]) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or path.as_posix() != name:
        return f"{name} leads out of models/; list files of models/ only"
    if (models / name).is_symlink() or not (models / name).is_file():
        about_to_change = len(hashes) > 1 and not (models / name).is_symlink()
        return None if about_to_change else f"{name} is listed but missing; put the file back or drop its line"
    if sha256(models / name) not in hashes:
        return f"{name} has another SHA-256 than listed; restore the file, or list its hash again if you trust it"
    return None


def _must_be_listed(name: str, must: Collection[str]) -> bool:
    wanted = any(fnmatchcase(name, pattern) for pattern in must)
    return wanted and not any(fnmatchcase(name, pattern) for pattern in TRAINING_CHECKPOINTS)
