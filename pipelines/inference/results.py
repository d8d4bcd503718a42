"""The folder that masks go to: each under a name of its own, each in the table ``results.csv``."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from ..bundling.bundles import members_of
from ..bundling.gate import Admission, fingerprint
from ..core.errors import DelineateError, InputError, fate, printable
from ..core.files import remove_leftovers, taking_turns
from ..core.sums import sha256
from ..core.versions import own_version
from ..imaging.item import Item
from ..imaging.objects import Model
from ..imaging.structures import structures_of, thresholds_of
from .files import KEPT_KINDS, KINDS, OutputOptions, name_of, possible_endings
from .outputs import UNNAMED, Segmentation, main_files, series_of, write_outputs
from .records import Pending, changed_files, former_key, input_hash, record_of, refuse_changed
from .result_table import TABLE, Key, ResultTable, Row, key_of, main_file

_LONGEST_NAME, _SHORTEST = 255, 20  # bytes of a file's name, with and without what is added to it
_YES_NO = {True: "yes", False: "no", None: ""}
_UNNAMEABLE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)


class ResultFolder:
    """Writes results into a folder, and a row of each, and of each refusal, into its ``results.csv``.

    Where a name is taken, by a result of another input or by a file that is not in the table, the next free one
    (``NAME_2``) is chosen, whatever its case. The same input again replaces its own files, whatever structures it had,
    also where it was moved since, or copied together with the folder; but masks and DICOM objects that somebody changed
    since they were written stay. Several processes may write into one folder.

    Args:
        folder: where to; made when the first result or refusal comes.
        facts: cells that all rows share, as `facts_of` gives them.
        thresholds: of each structure, by its name; none where they are not known.
        options: what is written of each result.
        settings: all else that decides what the masks are; without it results have no record, and none is ever done.

    Attributes:
        changed: how many of those that `is_done` was asked for have files that were changed since they were written.

    Raises:
        DelineateError: the folder cannot be written, or holds a ``results.csv`` that is something else.
    """

    def __init__(
        self,
        folder: str | Path,
        facts: Mapping[str, str] | None = None,
        thresholds: Mapping[str, float] | None = None,
        options: OutputOptions | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.facts, self._thresholds = Path(folder), dict(facts or {}), dict(thresholds or {})
        self._options = options or OutputOptions()
        self._settings = None if settings is None else [dict(settings), asdict(self._options)]
        self._table, self._owners, self._pending = ResultTable(folder), dict[str, Key](), Pending(self.folder)
        self._of_bytes: dict[str, dict[Key, None]] = {}  # the keys of inputs, by the hash of their bytes
        self._inputs: dict[Key, str] = {}  # hashes of what is being segmented
        self._done: dict[Key, bool] = {}
        self.changed = 0
        with self._turn():
            for place in [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]:
                remove_leftovers(place)
        self._earlier: dict[str, list[Key]] = {}  # what earlier calls refused: this one judges it anew
        for key, rows in self._table.rows.items():
            if not main_file(rows[0]):
                self._earlier.setdefault(rows[0]["input"], []).append(key)

    def write(self, result: Segmentation, place: Callable[[str], str] = str) -> list[Path]:
        """Write a result's files and its rows.

        Args:
            result: one segmented image or volume.
            place: what the table calls a file, or folder, of its source: its path, or a URL.

        Returns:
            the paths of its masks, one a structure, or of its label map; and of its DICOM objects.

        Raises:
            InputError: its mask, or a DICOM object of it, was changed since it was written, and would be lost; the
                file system takes no file of such a name; structures overlap where a label map is wanted.
            DelineateError: the folder can no longer be written.
        """
        with self._turn():
            where = self._where(result.item, None if result.volume is not None else result.item.slice, place)
            key = _key(where)
            hashed = where["input_sha256"] = self._inputs.pop(key, "") or input_hash(result.item)
            self._follow(key, where)
            refuse_changed(result.source, changed_files(self.folder, self._table.rows.get(key, [])))
            before = {row[kind] for row in self._table.rows.get(key, []) for kind in KINDS} - {""}
            name = self._free_name(key, result)
            ends = {ending for one in result.file_endings(self._options) for ending in one.values()}
            with self._pending.of(before | {f"{name}{ending}" for ending in ends}, self._is_listed):
                written = self._write_files(replace(result, name=name))
                rows = [where | row for row in self._rows(result, written)]
                record = self._record(rows, hashed)
                self._put([row | {"record": record} for row in rows])
                for earlier in before - {row[kind] for row in rows for kind in KINDS}:  # of other options or structures
                    (self.folder / earlier).unlink(missing_ok=True)
        return main_files(written)

    def _write_files(self, result: Segmentation) -> list[dict[str, Path]]:
        try:
            return write_outputs(result, self.folder, self._options)
        except OSError as error:
            if error.errno not in _UNNAMEABLE:
                raise
            reason = f"its mask cannot be named {printable(result.name)} ({error.strerror})"
            raise InputError(result.source, reason, "give it a shorter name") from error

    def _rows(self, result: Segmentation, written: Sequence[Mapping[str, Path]]) -> Iterator[Row]:
        values = result.pixel_values(self._options)
        for (name, mask), paths, value in zip(result.masks.items(), written, values, strict=True):
            size, unit = result.sizes[name]
            yield {
                "structure": name if len(result.masks) > 1 else "",
                "files_sha256": "; ".join(f"{kind} {sha256(paths[kind])}" for kind in KEPT_KINDS if kind in paths),
                **{kind: paths[kind].relative_to(self.folder).as_posix() if kind in paths else "" for kind in KINDS},
                **{"status": "segmented", "reason": "", "value": str(value)},
                "grid": "x".join(map(str, mask.shape if result.volume is not None else mask.shape[::-1])),
                **{"foreground": str(int(mask.sum())), "area_or_volume": f"{size:.10g}", "unit": unit},
                **{"threshold": _number(self._thresholds.get(name)), **self.facts},
                **{"familiar": _YES_NO[result.familiar], "feature_distance": _number(result.feature_distance, 4)},
            }

    def is_done(self, item: Item, place: Callable[[str], str] = str) -> bool:
        """Whether an earlier call made this result of the same input, bundle and settings, and its files are whole.

        So is one whose mask or DICOM object somebody changed since, as a person who corrects it does: see `changed`.

        It is to be asked before an image is read: the hash of its input goes into the record of its result.

        Args:
            item: an image, as `find_images` has it; a volume is judged at its first slice.
            place: as for `write`.
        """
        where = self._where(item, None if item.slices else item.slice, place)
        key = _key(where)
        if key not in self._done:
            hashed = self._inputs[key] = where["input_sha256"] = input_hash(item)
            if self._former(key, where):
                with self._turn():
                    self._follow(key, where)
            rows = self._table.rows.get(key, [])
            same = bool(rows and hashed) and all(
                row.get(name) == cell for row in rows for name, cell in self.facts.items()
            )
            whole = same and rows[0]["record"] == self._record(rows, hashed) != ""
            if not whole and changed_files(self.folder, rows):
                self.changed += 1
                whole = True
            self._done[key] = whole
        return self._done[key]

    @property
    def done(self) -> int:
        """How many of those that were asked for are done."""
        return sum(self._done.values())

    def _where(self, item: Item, frame: int | None, place: Callable[[str], str]) -> Row:
        """What a row is of, but for its bytes."""
        files = [_absolute(place(str(path))) for path in item.files]
        return {
            "input": printable("; ".join(files)),
            "series": series_of(item),
            "frame": "" if frame is None else str(frame + 1),
            "input_from_here": printable("; ".join(_from(self.folder, file) for file in files)),
        }

    def _former(self, key: Key, where: Row) -> Key | None:
        """The key of the rows of an image that has none of its own, if it was moved, or copied together with them."""
        same = self._of_bytes.get(where["input_sha256"], ())
        return None if key in self._table.rows else former_key(where, self._table.rows, same)

    def _follow(self, key: Key, where: Row) -> None:
        """Give an image that was moved its rows."""
        if (old := self._former(key, where)) is None:
            return
        rows, hashed = self._table.rows[old], where["input_sha256"]
        is_whole = rows[0]["record"] == self._record(rows, hashed)
        moved = [row | where | {"record": ""} for row in rows]
        record = self._record(moved, hashed) if is_whole else ""
        self._table.follow(old, [row | {"record": record} for row in moved])
        del self._of_bytes[hashed][old]
        self._own(self._table.rows[key])

    def flush(self) -> None:
        """Write into the table where images lie that were moved; as each further result does."""
        with self._turn():
            self._table.flush()

    def _record(self, rows: Sequence[Row], hashed: str) -> str:
        if self._settings is None or not hashed:
            return ""
        return record_of(self.folder, rows, (hashed, *self._settings))

    def refuse(self, error: InputError) -> None:
        """Write the row of an input that was refused or skipped, or of a note on it.

        Raises:
            DelineateError: the folder cannot be written.
        """
        row = {
            "input": printable(_absolute(error.source)),
            "status": fate(error),
            "reason": printable(f"{error.reason}; {error.remedy}"),
            "threshold": _together(self._thresholds),
        }
        with self._turn():
            self._put([dict.fromkeys(("series", "frame", "structure", *KINDS), "") | row | self.facts])

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """The folder for ourselves, with its table as it is now."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with taking_turns(self.folder):
                if self._table.refresh():
                    self._owners.clear()
                    self._of_bytes.clear()
                    for rows in self._table.rows.values():
                        self._own(rows)
                self._pending.clear(self._is_listed)
                yield
        except OSError as error:
            room = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            before = f". What was done before is in its {TABLE}" if (self.folder / TABLE).is_file() else ""
            raise DelineateError(
                f"{printable(self.folder)}: results cannot be written there ({error.strerror or error}); "
                f"{room}choose another --out{before}"
            ) from error

    def _is_listed(self, file: str) -> bool:
        return _folded(file) in self._owners

    def _put(self, rows: list[Row]) -> None:
        self._table.put(rows, self._earlier.pop(rows[0]["input"], ()))
        self._own(rows)

    def _own(self, rows: Sequence[Row]) -> None:
        """Remember whose the name and the files are."""
        for row in (row for row in rows if main_file(row)):
            taken = [_name(row), *(row[kind] for kind in KINDS if row[kind])]
            self._owners |= {_folded(one): key_of(row) for one in taken}
            if row["input_sha256"]:
                self._of_bytes.setdefault(row["input_sha256"], {})[key_of(row)] = None

    def _free_name(self, key: Key, result: Segmentation) -> str:
        """The name that the result has already, unless another's file is in the way now; else the first free one."""
        endings, own = possible_endings(result.structures), self._table.rows.get(key)
        written = {ending for files in result.file_endings(self._options) for ending in files.values()}
        if own and self._is_free(_name(own[0]), key, written):
            return _name(own[0])
        wanted = sound_name(result.name, endings)
        names = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
        return next(name for name in names if self._is_free(name, key, endings))

    def _is_free(self, name: str, key: Key, endings: Iterable[str]) -> bool:
        def is_ours(file: str) -> bool:
            owner = self._owners.get(_folded(file))
            return owner == key if owner else not os.path.lexists(self.folder / file)

        return self._owners.get(_folded(name), key) == key and all(is_ours(f"{name}{ending}") for ending in endings)


def sound_name(name: str, endings: Iterable[str] = possible_endings([UNNAMED])) -> str:
    """A relative name that a file can have and a person can read.

    What is too long for a file, and characters that control a terminal or are no UTF-8, make way for a hash.

    Args:
        name: the name.
        endings: of the files that are named so.
    """
    *folders, last = PurePath(name).parts
    longest = _LONGEST_NAME - max(len(os.fsencode(ending)) for ending in endings) - len("_9999")
    return str(PurePath(*(_sound(part, _LONGEST_NAME) for part in folders), _sound(last, max(longest, _SHORTEST))))


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
    return name_of(main_file(row), row["structure"])


def _key(where: Row) -> Key:
    return key_of({**where, "mask": "?"})


def _absolute(source: str) -> str:
    """The whole path of a file or folder; a URL is whole."""
    return source if not source or source.startswith(("http://", "https://")) else os.path.abspath(source)


def _from(folder: Path, source: str) -> str:
    """The path of a file from a folder; nothing of a URL, or of a file on another drive."""
    try:
        return PurePath(os.path.relpath(source, folder)).as_posix() if os.path.isabs(source) else ""
    except ValueError:
        return ""


def _number(value: float | None, digits: int = 10) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _together(thresholds: Mapping[str, float]) -> str:
    """Of all structures: one number where they have the same."""
    if len(set(thresholds.values())) < 2:
        return _number(next(iter(thresholds.values()), None))
    return "; ".join(f"{name} {_number(threshold)}" for name, threshold in thresholds.items())


def used_thresholds(
    structures: Sequence[Mapping[str, Any]] | None, threshold: float | Mapping[str, float] | None, exclusive: bool
) -> dict[str, float]:
    """The threshold of each structure, by its name; none where the bundle does not tell.

    Args:
        structures: of the bundle; ``None`` where it names none.
        threshold: the bundle's setting; ``None`` where it has none.
        exclusive: whether no pixel is of two structures.
    """
    if structures is None and threshold is None:
        return {}
    known = structures_of(structures)
    names = [one.name for one in known] or [UNNAMED.name]
    return dict(zip(names, thresholds_of(known, threshold, exclusive), strict=True))


def shown_path(paths: Sequence[Path], result: Segmentation) -> str:
    """Where the masks of a result are, as it is printed: those of several structures as one pattern."""
    masks = [path for path in paths if path.suffix != ".dcm"]
    if len(masks) > 1:
        name, ending = name_of(masks[0].name, next(iter(result.masks))), masks[0].name.rpartition("_mask.")[2]
        masks = [masks[0].with_name(f"{name}_*_mask.{ending}")]
    return ", ".join(map(printable, [*masks, *(path for path in paths if path.suffix == ".dcm")]))


def facts_of(bundle: Admission | str | Path | None, tta: str | None = None, backend: str = "") -> Row:
    """The cells that all results of a bundle share; one that did not pass the gate is verified by nobody.

    Args:
        bundle: let in, or its folder; ``None`` where it is not known.
        tta: the bundle's setting.
        backend: what computes its network, as `computed_by` tells.
    """
    cells = {"delineate": own_version(), "tta": tta or "", "backend": backend}
    if bundle is None:
        return cells
    cells["members"] = "; ".join(_members(bundle))
    if not isinstance(bundle, Admission):
        return cells | {"bundle": fingerprint(Path(bundle)), "bundle_verified": "unknown"}
    verified = "no, trusted" if bundle.trusted else "shipped" if bundle.shipped else "yes"
    return cells | {"bundle": bundle.hash, "bundle_verified": verified}


def _members(bundle: Admission | str | Path) -> tuple[str, ...]:
    """Hashes of the members of an ensemble."""
    return tuple(one["hash"] for one in members_of(_folder(bundle)))


def _folder(bundle: Admission | str | Path) -> Path:
    return bundle.folder if isinstance(bundle, Admission) else Path(bundle)


def model_of(
    bundle: Admission | str | Path | None, thresholds: Mapping[str, float], tta: str | None = None, backend: str = ""
) -> Model:
    """What DICOM objects say of a bundle: its name, version, hash and members; thresholds, views and backend used."""
    facts, used = facts_of(bundle, tta), tuple(thresholds.items())
    if bundle is None:
        return Model(thresholds=used, delineate=facts["delineate"], tta=tta or "", backend=backend)
    try:
        told = json.loads((_folder(bundle) / "configs" / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    name, version = (str(told.get(key) or "unknown") for key in ("name", "version"))
    members = _members(bundle)
    shown = printable(name), printable(version)
    return Model(*shown, facts["bundle"], used, facts["delineate"], members, facts["tta"], backend)
