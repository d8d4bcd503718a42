"""What lies in a bundle's folder, looked at once and within bounds; links are named, never followed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from ...core.sums import TRAINING_CHECKPOINTS

MAX_ENTRIES = 100_000
MAX_DEPTH = 12
HEAD = 4096  # bytes that are looked at of a text that nothing is loaded from
MAX_CONFIG = 128 << 10  # bytes of a configuration file
MAX_TEXT = 1 << 20  # of other texts beside configuration or weights
FAMILIARITY, MAX_FAMILIARITY = "familiarity.json", 16 << 20  # what is known of training images, beside weights
_WEIGHTS = ("*.pt", "*.ts", "*.onnx", "*.onnx.data", "*.pt2", "*.xml", "*.bin")
MAX_WEIGHTS = 4 << 30  # of a file of weights: a thousand million parameters

# what a segmentation or an evaluation may have left anywhere but in configs/ and models/: pixels, never configuration
_PIXELS = ("*.png", "*.jpg", "*.jpeg", "*.tif", "*.tiff", "*.bmp", "*.dcm", "*.nii", "*.nii.gz", "*.nrrd", "*.mha")
_CLOSED = ("configs/", "models/")  # folders that MONAI and we load from


@dataclass(frozen=True, order=True)
class Entry:
    """A file or folder of a bundle.

    Attributes:
        name: relative to the bundle's folder, with forward slashes.
        path: where it is.
        kind: what it is; ``"other"`` is a pipe, a device or a socket.
        size: bytes of a file.
    """

    name: str
    path: Path
    kind: Literal["file", "folder", "link", "other"]
    size: int

    @property
    def top(self) -> str:
        """The folder of the bundle that it lies in; empty for what lies beside them."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def base(self) -> str:
        """Its name without its folders."""
        return PurePosixPath(self.name).name

    def is_like(self, *patterns: str) -> bool:
        """Tell whether its own name matches one of the patterns, in any case."""
        return any(fnmatchcase(self.base.lower(), pattern) for pattern in patterns)

    @property
    def is_pixels(self) -> bool:
        """Tell whether it is a picture or a volume where nothing is loaded from."""
        return self.kind == "file" and self.is_like(*_PIXELS) and not self.name.startswith(_CLOSED)

    @property
    def is_config(self) -> bool:
        """Tell whether MONAI would read it as configuration, wherever it lies, or Python's logging."""
        return self.is_like("*.yaml", "*.yml", "*.conf") or self.name.startswith("configs/")

    @property
    def is_state(self) -> bool:
        """Tell whether it is the state of a training, which changes while it goes on."""
        return self.is_like(*TRAINING_CHECKPOINTS)


def too_large(entry: Entry) -> str | None:
    """Say what is wrong with the size of a file whose whole content counts; it is judged before anything is read."""
    if entry.kind != "file" or entry.is_pixels:
        return None
    if entry.is_config:
        limit = MAX_CONFIG
    else:
        limit = MAX_WEIGHTS if entry.is_like(*_WEIGHTS) else MAX_TEXT
        limit = MAX_FAMILIARITY if entry.top == "models" and entry.is_like("familiarity*.json") else limit
    loaded = entry.is_config or entry.name.startswith((*_CLOSED, "checkpoints/")) or entry.is_like("*.pt")
    return f"{entry.size} bytes, at most {limit} are read; make it smaller" if loaded and entry.size > limit else None


class TooMuchError(Exception):
    """A folder that holds more than any bundle; the message says what."""


def list_entries(folder: Path) -> list[Entry]:
    """Everything in `folder`, sorted by name.

    The folders ``cache`` (of a training) and ``__pycache__`` are named but not entered: nothing is loaded from them.

    Raises:
        TooMuchError: there are more than ``MAX_ENTRIES``, or they are nested deeper than ``MAX_DEPTH``.
        OSError: a folder cannot be read.
    """
    found: list[Entry] = []
    waiting: list[tuple[Path, str, int]] = [(folder, "", 1)]
    while waiting:
        place, above, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise TooMuchError(f"folders nested deeper than {MAX_DEPTH}; a bundle is flat: move its files up")
        with os.scandir(place) as items:
            for item in items:
                entry = _entry(Path(item.path), f"{above}{item.name}", item.stat(follow_symlinks=False))
                found.append(entry)
                if len(found) > MAX_ENTRIES:
                    raise TooMuchError(f"more than {MAX_ENTRIES} files; a bundle is small: move the others elsewhere")
                if entry.kind == "folder" and not is_passed_over(entry.name):
                    waiting.append((entry.path, f"{entry.name}/", depth + 1))
    return sorted(found)


def is_passed_over(name: str) -> bool:
    """Tell whether a folder is not entered."""
    return name == "cache" or PurePosixPath(name).name == "__pycache__"


def _entry(path: Path, name: str, status: os.stat_result) -> Entry:
    if stat.S_ISLNK(status.st_mode):
        return Entry(name, path, "link", 0)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, path, "folder", 0)
    return Entry(name, path, "file" if stat.S_ISREG(status.st_mode) else "other", status.st_size)
