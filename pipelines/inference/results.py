"""The folder that masks go to: each under a name of its own, each in the table ``results.csv``."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from ..bundling.gate import Admission, fingerprint
from ..core.errors import DelineateError, InputError, fate, printable
from ..core.files import remove_leftovers, taking_turns
from ..core.versions import versions
from .outputs import ENDINGS, Segmentation, VolumeFormat, write_outputs
from .result_table import FILES, TABLE, Key, ResultTable, Row, key_of

_LONGEST = 255 - len("_probability.nii.gz") - len("_9999")  # bytes of a file's name
_UNNAMEABLE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


class ResultFolder:
    """Writes results into a folder, and a row of each, and of each refusal, into its ``results.csv``.

    Where a name is taken, by a result of another input or by a file that is not in the table, the next free one
    (``NAME_2``) is chosen, whatever its case. The same input again replaces its own files. Several processes may write
    into one folder.

    Args:
        folder: where to; made when the first result or refusal comes.
        facts: cells that all rows share: ``threshold``, ``bundle``, ``bundle_verified``, ``delineate``.
        overlay: also write the image with the outline.
        probability: also write the probabilities.
        volume_format: of masks of volumes.

    Raises:
        DelineateError: the folder cannot be written, or holds a ``results.csv`` that is something else.
    """

    def __init__(
        self,
        folder: str | Path,
        facts: Mapping[str, str] | None = None,
        *,
        overlay: bool = False,
        probability: bool = False,
        volume_format: VolumeFormat = "nii.gz",
    ) -> None:
        self.folder, self.facts = Path(folder), dict(facts or {})
        self._options: dict[str, Any] = {
            "overlay": overlay,
            "probability": probability,
            "volume_format": volume_format,
        }
        self._table, self._owners = ResultTable(folder), dict[str, Key]()
        with self._turn():
            for place in [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]:
                remove_leftovers(place)
        self._earlier: dict[str, list[Key]] = {}  # what earlier calls refused: this one judges it anew
        for key, row in self._table.rows.items():
            if not row["mask"]:
                self._earlier.setdefault(row["input"], []).append(key)

    def write(self, result: Segmentation) -> Path:
        """Write a result's files and its row.

        Returns:
            the mask's path.

        Raises:
            InputError: the file system takes no file of such a name.
            DelineateError: the folder can no longer be written.
        """
        row = {**_place(result), **_extent(result), "status": "segmented", "reason": "", **self.facts}
        with self._turn():
            key = key_of({**row, "mask": "?"})
            before = self._table.rows.get(key, {})
            name = self._free_name(key, sound_name(result.name))
            try:
                written = write_outputs(replace(result, name=name), self.folder, **self._options)
            except OSError as error:
                if error.errno not in _UNNAMEABLE:
                    raise
                reason = f"its mask cannot be named {printable(name)} ({error.strerror})"
                raise InputError(result.source, reason, "give it a shorter name") from error
            files = {
                kind: written[kind].relative_to(self.folder).as_posix() if kind in written else "" for kind in FILES
            }
            self._put(row | files)
            for kind in FILES:  # of an earlier threshold, or in another format
                if before.get(kind) and before[kind] not in files.values():
                    (self.folder / before[kind]).unlink(missing_ok=True)
        return written["mask"]

    def refuse(self, error: InputError) -> None:
        """Write the row of an input that was refused or skipped, or of a note on it.

        Raises:
            DelineateError: the folder cannot be written.
        """
        source = os.path.abspath(error.source) if error.source else ""
        row = {
            "input": printable(source),
            "status": fate(error),
            "reason": printable(f"{error.reason}; {error.remedy}"),
        }
        with self._turn():
            self._put({**dict.fromkeys(("series", "frame", *FILES), ""), **row, **self.facts})

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The folder for ourselves, with its table as it is now."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with taking_turns(self.folder):
                if self._table.refresh():
                    self._owners = {_folded(_name(row)): key for key, row in self._table.rows.items() if row["mask"]}
                yield
        except OSError as error:
            room = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            before = f". What was done before is in its {TABLE}" if (self.folder / TABLE).is_file() else ""
            raise DelineateError(
                f"{printable(self.folder)}: results cannot be written there ({error.strerror or error}); "
                f"{room}choose another --out{before}"
            ) from error

    def _put(self, row: Row) -> None:
        self._table.put(row, self._earlier.pop(row["input"], ()))
        if row["mask"]:
            self._owners[_folded(_name(row))] = key_of(row)

    def _free_name(self, key: Key, wanted: str) -> str:
        if key in self._table.rows:
            return _name(self._table.rows[key])
        names = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
        return next(name for name in names if _folded(name) not in self._owners and not self._is_there(name))

    def _is_there(self, name: str) -> bool:
        return any(os.path.lexists(self.folder / f"{name}{ending}") for ending in ENDINGS)


def sound_name(name: str) -> str:
    """A relative name that a file can have and a person can read.

    What is too long for a file, and characters that control a terminal or are no UTF-8, make way for a hash.
    """
    *folders, last = PurePath(name).parts
    return str(PurePath(*(_sound(part, 255) for part in folders), _sound(last, _LONGEST)))


def _sound(part: str, longest: int) -> str:
    clean = "".join(letter if printable(letter) in (letter, r"\\") else "_" for letter in part)
    if clean == part and len(os.fsencode(part)) <= longest:
        return part
    digest = hashlib.sha256(os.fsencode(part)).hexdigest()[:8]
    return f"{clean.encode()[: longest - 9].decode(errors='ignore')}_{digest}"


def _folded(name: str) -> str:
    """Equal for names that some file systems take for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _name(row: Mapping[str, str]) -> str:
    return re.sub(r"_mask\.[a-z.]+$", "", row["mask"])


def _place(result: Segmentation) -> Row:
    """What a row is of."""
    image = result.item.get("image", result.source)
    paths = image if isinstance(image, list) else [image if isinstance(image, str | Path) else result.source]
    frame = "" if result.volume is not None else result.item.get("slice", "")
    return {
        "input": printable("; ".join(os.path.abspath(path) for path in paths)),
        "series": result.series,
        "frame": str(frame + 1 if isinstance(frame, int) else frame),
    }


def _extent(result: Segmentation) -> Row:
    size, unit = result.size
    return {
        "grid": "x".join(map(str, result.mask.shape if result.volume is not None else result.mask.shape[::-1])),
        "foreground": str(int(result.mask.sum())),
        "area_or_volume": f"{size:.10g}",
        "unit": unit,
    }


def facts_of(bundle: Admission | str | Path | None, threshold: object) -> Row:
    """The cells that all results of a bundle share; one that did not pass the gate is verified by nobody."""
    cells = {"threshold": "" if threshold is None else str(threshold), "delineate": versions()["delineate"]}
    if bundle is None:
        return cells
    if not isinstance(bundle, Admission):
        return cells | {"bundle": fingerprint(Path(bundle)), "bundle_verified": "unknown"}
    verified = "no, trusted" if bundle.trusted else "shipped" if bundle.shipped else "yes"
    return cells | {"bundle": bundle.hash, "bundle_verified": verified}
