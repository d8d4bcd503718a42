"""The gate: a bundle from outside the package is verified before any part of it is handed to MONAI.

`admit` is called by everything that takes a bundle. What passed is remembered by the hash of its files, so the second
time costs no more than reading them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError, counted, printable
from ..core.files import cache_folder, write_atomically
from ..core.sums import sha256
from .bundles import find_bundle, shipped_bundles
from .verify import Finding, verify_bundle
from .verify.listing import HEAD, Entry, TooMuchError, list_entries, too_large
from .verify.targets import own_packages

logger = logging.getLogger(__name__)
_SHOWN = 10  # findings in the error; 'delineate bundle verify' lists them all
_REMEMBERED = 1000  # bundles
_MEANING = ("configs/", "models/")  # the files that say what a bundle does
_DEPENDENCIES = ("delineate", "monai", "torch", "pytorch-ignite", "PyYAML", "jsonschema")
_TRUST = (
    "With --trust (trust=True in Python) it is used anyway: it may then run any code, read and write your files, "
    "and use the network"
)
_NEVER_USED = "--trust does not help here: weights that are not as listed, or not tensors alone, are never used"


class UnverifiedError(DelineateError):
    """A bundle that verification refuses; `findings` has them all."""

    def __init__(self, folder: Path, findings: tuple[Finding, ...]) -> None:
        shown = [f"  {finding}" for finding in findings[:_SHOWN]]
        more = len(findings) - _SHOWN
        rest = [f"  ... and {more} more: delineate bundle verify {printable(folder)}"] if more > 0 else []
        super().__init__(
            f"{printable(folder)} is not used: it is no part of Delineate, and verification has "
            f"{counted(len(findings), 'finding')}:\n"
            + "\n".join([*shown, *rest])
            + "\nCorrect them, or get the bundle again from its author. "
            + (_NEVER_USED if any(map(_is_of_weights, findings)) else _TRUST)
        )
        self.folder, self.findings = folder, findings


@dataclass(frozen=True)
class Admission:
    """A bundle that may be used.

    Attributes:
        folder: where it is.
        hash: SHA-256 over the names and contents of its configuration and weights.
        shipped: whether it is part of the installed package, which is not verified.
        trusted: whether it is used in spite of findings, because the user said so.
        findings: what verification found; empty unless trusted.
        members: of an ensemble that is gone after use, the runs that it was made of.
    """

    folder: Path
    hash: str
    shipped: bool = False
    trusted: bool = False
    findings: tuple[Finding, ...] = ()
    members: tuple[Path, ...] = ()

    def record(self) -> dict[str, Any]:
        """What records and scores say of the bundle that they come from."""
        found = {"hash": self.hash, "trusted": self.trusted, "findings": [str(each) for each in self.findings[:_SHOWN]]}
        return found | ({"members": [str(each) for each in self.members]} if self.members else {})


Bundle = str | Path | Admission
"""A folder, the name of a shipped bundle, or what was let in."""
_in_use: ContextVar[Admission | None] = ContextVar("admission", default=None)


def admit(bundle: Bundle, trust: bool = False) -> Admission:
    """Find a bundle and see that it may be used.

    Args:
        bundle: folder of a bundle or run, or the name of a shipped bundle; one that was let in comes back as it is.
        trust: whether to use it although verification has findings; they are logged and recorded.

    Raises:
        UnverifiedError: it is no part of the package, and verification has findings.
        DelineateError: there is no such bundle.
    """
    if isinstance(bundle, Admission):
        return bundle
    folder = find_bundle(bundle)
    prints = _prints(folder)
    if _is_shipped(folder):
        return Admission(folder, prints.meaning, shipped=True)
    if prints.key is not None and _is_remembered(prints.key):
        return Admission(folder, prints.meaning)
    findings = tuple(verify_bundle(folder, shipping=False))
    if not findings:
        if prints.key is not None:
            _remember(prints.key)
        return Admission(folder, prints.meaning)
    if not trust:
        raise UnverifiedError(folder, findings)
    logger.warning(f"{printable(folder)} is trusted in spite of {len(findings)} finding(s), e.g. {findings[0]}")
    return Admission(folder, prints.meaning, trusted=True, findings=findings)


@contextmanager
def in_use(admission: Admission) -> Iterator[None]:
    """While the block runs, records and scores name this bundle as the one they come from."""
    token = _in_use.set(admission)
    try:
        yield
    finally:
        _in_use.reset(token)


def bundle_in_use() -> dict[str, Any] | None:
    """What a record says of the bundle that runs; ``None`` where it was started without the gate."""
    admission = _in_use.get()
    return admission.record() if admission else None


def fingerprint(folder: Path) -> str:
    """The hash of `Admission`, of a bundle that runs without the gate."""
    return _prints(folder).meaning


def _is_of_weights(finding: Finding) -> bool:
    return finding.file.startswith("models/") and "model.pt" in f"{finding.file} {finding.message}"


def _is_shipped(folder: Path) -> bool:
    return folder.resolve() in {shipped.resolve() for shipped in shipped_bundles().values()}


@dataclass(frozen=True)
class _Prints:
    """Fingerprints of a bundle: `key` of all that verification reads, `meaning` of configuration and weights alone."""

    key: str | None
    meaning: str


def _prints(folder: Path) -> _Prints:
    """Hash a bundle's files; what is too large for a bundle, or cannot be read, leaves no key: it is verified anew."""
    key, meaning = hashlib.sha256(_rules().encode()), hashlib.sha256()
    try:
        entries = list_entries(folder)
        if any(too_large(entry) for entry in entries):
            return _Prints(None, meaning.hexdigest())
        for entry in entries:
            line = repr((entry.name, entry.kind, _content(entry))).encode()
            key.update(line)
            if entry.kind == "file" and entry.name.startswith(_MEANING) and not entry.is_state:
                meaning.update(line)
    except (TooMuchError, OSError):
        return _Prints(None, meaning.hexdigest())
    return _Prints(key.hexdigest(), meaning.hexdigest())


def _content(entry: Entry) -> str:
    """All that verification reads of a file."""
    if entry.kind != "file" or entry.is_pixels:
        return ""
    if entry.name.startswith(_MEANING) or entry.is_like("*.yaml", "*.yml", "*.conf", "*.pt"):
        return sha256(entry.path)
    with entry.path.open("rb") as stream:
        return hashlib.sha256(stream.read(HEAD)).hexdigest()


@lru_cache(maxsize=1)
def _rules() -> str:
    """Names the rules: with others a bundle is verified anew."""
    files = sorted([*Path(__file__).parent.glob("verify/*.py"), Path(__file__), *own_packages().values()])
    return "\n".join([*map(_version, _DEPENDENCIES), *map(sha256, files)])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _is_remembered(key: str) -> bool:
    """Ask the memory; one that others may write to tells nothing."""
    with suppress(OSError, DelineateError):
        folder = cache_folder("verified")
        status = folder.stat()
        own = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH)
        return own and (folder / key).is_file()
    return False


def _remember(key: str) -> None:
    """Never a reason to stop: without a memory it takes a second more the next time."""
    with suppress(OSError, DelineateError):
        folder = cache_folder("verified")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(folder / key, b"")
        _forget(folder.iterdir())


def _forget(paths: Iterable[Path]) -> None:
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[_REMEMBERED:]:
        path.unlink(missing_ok=True)
