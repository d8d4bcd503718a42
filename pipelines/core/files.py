"""Files that are either whole or not there; locks that end with their process."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from uuid import uuid4

from .errors import DelineateError, InputError, permission_denied, printable

if sys.platform != "win32":
    import fcntl

_held: dict[Path, int] = {}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it takes the place of ``path`` when the block ends without error.

    Nobody ever sees half a file, and a file from before stays until its successor is complete. The temporary file is
    locked while its process lives, so that :func:`remove_leftovers` can tell.
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid4().hex}.tmp")
    with _locked_new_file(temporary):
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def keep_aside(path: Path) -> Path:
    """Copy a file beside itself, as ``NAME.1.json`` or the next free number, and return the copy's path."""
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    write_atomically(aside, path.read_bytes())
    return aside


def put_in_place(draft: Path, folder: Path, parts: Sequence[str | Path]) -> None:
    """Move parts of a draft into a folder, in place of its own; where that breaks off, by Ctrl-C too, all is as before.

    Args:
        draft: on the same disk; it is to be thrown away afterwards, with what was replaced.
        folder: is made where it is not there.
        parts: files and folders of the draft, relative to it.
    """
    aside = Path(mkdtemp(dir=draft.parent))
    try:
        for part in parts:
            for parent in ((aside / part).parent, (folder / part).parent):
                parent.mkdir(parents=True, exist_ok=True)
            if (folder / part).exists():
                (folder / part).rename(aside / part)
            (draft / part).rename(folder / part)
    except BaseException:
        for part in parts:
            if (folder / part).exists() and not (draft / part).exists():
                (folder / part).rename(draft / part)
            if (aside / part).exists():
                (aside / part).rename(folder / part)
        raise


@contextmanager
def taking_turns(folder: str | Path) -> Iterator[None]:
    """Hold a folder while the block runs; other processes that ask for it wait. Without locks, nobody waits."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network folder may know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def cache_folder(name: str) -> Path:
    """A folder of the user's, for what can be made again.

    Raises:
        DelineateError: this user has no home, as some services have none, and ``XDG_CACHE_HOME`` names no folder.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "delineate" / name
    except RuntimeError as error:
        raise DelineateError("this user has no home folder; set XDG_CACHE_HOME to one that can be written") from error


def refuse_unwritable(folder: str | Path) -> None:
    """See, before the work, that results can be written into ``folder``; nothing is made yet.

    Raises:
        DelineateError: it, or what it is to be made in, is a file or cannot be written.
    """
    place = Path(folder).absolute()
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise DelineateError(f"{printable(place)} is no folder: nothing can be written into it; name another")
    if not os.access(place, os.W_OK | os.X_OK):
        raise DelineateError(f"{printable(place)} cannot be written; name another folder, or change its permissions")


def remove_leftovers(folder: str | Path) -> None:
    """Remove what processes that were killed in :func:`replacing` left in ``folder``; what is being written stays."""
    for path in Path(folder).glob(".*.tmp"):
        if re.fullmatch(r"\.[0-9a-f]{32}\.tmp", path.name) and is_abandoned(path):
            path.unlink(missing_ok=True)  # another process may have been quicker


def hold(path: str | Path) -> bool:
    """Take the lock file ``path``, made if missing, for this process, until :func:`let_go` or its end, however it ends.

    Returns:
        False when another process has it. Taking it again in one process is fine. Where the system or its file system
        has no such locks, everybody gets it.
    """
    path = Path(path).resolve()
    if path in _held:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        _lock(descriptor)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:
        pass
    _held[path] = descriptor
    return True


def let_go(path: str | Path) -> None:
    """Give back what :func:`hold` took; nothing happens where it was not taken."""
    descriptor = _held.pop(Path(path).resolve(), None)
    if descriptor is not None:
        os.close(descriptor)


def is_abandoned(path: Path) -> bool:
    """Whether no living process, this one included, holds the file; where that cannot be told, none is called so."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        _lock(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _locked_new_file(path: Path) -> Iterator[None]:
    if sys.platform == "win32":  # a file that is open cannot be replaced there
        yield
        return
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with suppress(OSError):
            _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: another process has it.
        OSError: there are no locks here.
    """
    if sys.platform == "win32":
        raise OSError("no flock on this system")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def denied(path: Path) -> InputError | None:
    """The refusal of a file or folder that this user has no right to read; nothing of all else, also what is missing.

    Nothing but a regular file is opened. Of a folder its list and its files must be within reach.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
        elif stat.S_ISDIR(mode):
            os.scandir(path).close()
            os.stat(f"{path}{os.sep}.")
    except PermissionError:
        return permission_denied(path)
    except (OSError, ValueError):  # whoever reads it says so
        return None
    return None


def refuse_irregular(path: Path) -> None:
    """Refuse what can't be read as a file: to open a FIFO is to wait for ever.

    Raises:
        InputError: the path is missing, a folder, a FIFO, socket or device, the file is empty, or may not be read.
    """
    if error := denied(path):
        raise error
    if path.is_dir():
        raise InputError(path, "is a folder, not an image", "name a file in it")
    if not path.exists():
        raise InputError(path, "does not exist", "check the path")
    if not path.is_file():
        raise InputError(path, "is no regular file", "copy what it holds into a file")
    if path.stat().st_size == 0:
        raise InputError(path, "is empty (0 bytes)", "copy or download it again")
