"""Images to segment: files, folders and globs, and the names of their masks."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import InputError, NotedError, SkippedError, counted
from ..core.files import denied
from ..datasets.layouts.base import walk
from ..imaging.dicom import Series, find_series, is_dicom, read_header
from ..imaging.dicom.header import UID_UNUSED, malformed_uids
from ..imaging.filetypes import IMAGE_SUFFIXES, is_picture, refuse_foreign
from ..imaging.item import Item, kind_of
from ..imaging.reading import open_volume, series_at
from ..imaging.volumes.formats import VOLUME_SUFFIXES, read_grid, volume_suffix
from ..imaging.volumes.planes import plane_count
from ..imaging.volumes.slicing import Axis, Slicing
from ..imaging.writers.mark import read_mark
from .result_table import TABLE, own_files

logger = logging.getLogger(__name__)
OnError = Callable[[InputError], None]
Names = Mapping[Path, Path]
_Expanded = tuple[list[tuple[Path, Path]], list[InputError]]


class Images(list[dict[str, Any]]):
    """Items of images, and what was refused while they were looked for (``refused``)."""

    def __init__(self, items: Iterable[dict[str, Any]], refused: Iterable[InputError]) -> None:
        super().__init__(items)
        self.refused = list(refused)


class _Output(NamedTuple):
    """What becomes one mask, or one for each of its items where they have names."""

    file: Path  # the first
    name: Path  # relative, without suffix
    full: Path  # the same with suffix, for where names clash
    items: list[Item]


def find_images(
    source: str | Path | Sequence[str | Path],
    on_error: OnError | None = None,
    slicing: Mapping[str, Any] | Slicing | None = None,
) -> Images:
    """Images in files, folders (of any depth) and globs, in the order given, each once.

    Pictures, volumes and DICOM files are found, DICOM and pictures of unknown suffix by content. Files that hold images
    in another form (GIF, film, archive, ...) are refused; what is no image at all is passed over. With an axis to cut
    along, the files of a DICOM series are one volume. With several modalities, ``X_0000.nii.gz``, ``X_0001.nii.gz``
    (nnU-Net's names) are those of X. Of a folder, masks that its ``results.csv`` names are passed over.

    Args:
        source: one or several files, folders, globs.
        on_error: called for what holds no image; logged where ``None``.
        slicing: how volumes become images.

    Returns:
        items with ``image`` (path, or paths of modalities) and ``name``: the relative path, without suffix, that
        outputs are named after. Two images of one name keep their suffix in it (``a.jpg``, ``a.png``), so that no
        output overwrites another. An item has ``slice`` where its file holds several images; those of one volume have
        ``slices``, their number.
    """
    refused: list[InputError] = []
    tell = on_error or (lambda error: logger.error(str(error)))

    def refuse(error: InputError) -> None:
        refused.append(error)
        tell(error)

    slicing = Slicing.of(slicing)
    paths: dict[Path, tuple[Path, Path]] = {}
    named: set[Path] = set()  # by itself, not with its folder
    for one in [source] if isinstance(source, str | Path) else source:
        pairs, foreign = _expand(one)
        for error in foreign:
            refuse(error)
        if not pairs and not foreign:
            kinds = ", ".join([*sorted(IMAGE_SUFFIXES), *VOLUME_SUFFIXES])
            refuse(InputError(one, "no image found", f"name image files ({kinds}, DICOM) or a folder"))
        named |= {Path(one), *map(Path, glob.glob(str(one), recursive=True))}
        for path, name in _without_own(one, pairs, refuse):
            paths.setdefault(path.resolve(), (path, name))
    outputs = _outputs(dict(paths.values()), slicing, refuse, named)
    names = _unique(outputs)
    found = [(name, item) for output, name in zip(outputs, names, strict=True) for item in output.items]
    return Images([{"name": name} | item.as_fields() for name, item in found], refused)


def _without_own(source: str | Path, pairs: list[tuple[Path, Path]], on_error: OnError) -> list[tuple[Path, Path]]:
    """Without what Delineate wrote there itself; a file that is named is taken as it is."""
    if Path(source).is_file():
        return pairs
    folders = {parent for path, _ in pairs for parent in path.parents if (parent / TABLE).is_file()}
    own = {path for folder in folders for path in own_files(folder)}
    kept = [(path, name) for path, name in pairs if path not in own and not read_mark(path)]
    if passed := len(pairs) - len(kept):
        reason = f"holds {counted(passed, 'mask or overlay', 'masks or overlays')} that Delineate wrote"
        on_error(SkippedError(source, reason, "passed over; name one by itself to segment it"))
    return kept


def _expand(source: str | Path) -> _Expanded:
    """Paths and the relative names of their outputs; what is refused."""
    if not str(source):
        return [], []  # Path("") would be the whole working folder
    path = Path(source)
    if path.is_dir():
        return _expand_folder(path)
    if path.exists() or not glob.has_magic(str(source)):
        return [(path, Path(path.name))], []  # a missing file is refused, by name, when it is read
    matches = [_expand(match) for match in sorted(glob.glob(str(source), recursive=True))]
    return [pair for pairs, _ in matches for pair in pairs], [error for _, refused in matches for error in refused]


def _expand_folder(folder: Path) -> _Expanded:
    """Of the files that are not hidden those that are images, and refusals of those that hold images unread."""
    if error := denied(folder):
        return [], [error]
    pairs: list[tuple[Path, Path]] = []
    refused: list[InputError] = []
    for file in walk(folder):
        name = file.relative_to(folder)
        if file.is_file() and (volume_suffix(file) or is_dicom(file) or is_picture(file)):
            pairs.append((file, name))
        elif error := refuse_foreign(file):
            refused.append(error)
    return pairs, refused


def _outputs(names: Names, slicing: Slicing, on_error: OnError, named: Collection[Path]) -> list[_Output]:
    """One for each picture, frame and volume, in the order of the files.

    Of a DICOM series that makes no volume each image is one, where its files, not only their folder, are ``named``.
    """
    kinds = {path: kind_of(path) for path in names}
    dicom = [path for path in names if kinds[path] == "dicom"]
    outputs = [
        _Output(path, _stem(name), name, [Item.of(path)]) for path, name in names.items() if kinds[path] == "picture"
    ]
    volumes = _cases([path for path in names if kinds[path] == "volume"], slicing.modalities)
    tries: list[Callable[[], list[_Output]]] = [partial(_volume, case, names, slicing) for case in volumes]
    if axis := slicing.axis:
        series, refused = find_series(dicom)
        for error in [*refused, *(_crowded(one) for one in series if one.crowded)]:
            on_error(error)
        dicom = [path for one in series if not one.is_volume for path in one.files]
        tries += [partial(_series, one, names, axis, named, on_error) for one in series if one.is_volume]
    tries += [partial(_frames, path, names[path], None if slicing.axis else on_error) for path in dicom]
    for attempt in tries:
        try:
            outputs += attempt()
        except InputError as error:
            on_error(error)
    order = {path: number for number, path in enumerate(names)}
    return sorted(outputs, key=lambda output: order[output.file])


def _cases(volumes: Sequence[Path], modalities: int) -> list[list[Path]]:
    """Volumes by case: one each, or ``X_0000``, ``X_0001`` ... together."""
    if modalities == 1:
        return [[path] for path in volumes]
    cases: dict[str, list[Path]] = {}
    for path in volumes:
        cases.setdefault(re.sub(r"_\d{4}$", "", str(_stem(path))), []).append(path)
    return list(cases.values())


def _volume(paths: Sequence[Path], names: Names, slicing: Slicing) -> list[_Output]:
    first, image = min(paths), tuple(sorted(paths))
    if slicing.modalities > 1 and [str(_stem(path))[-5:] for path in sorted(paths)] != [
        f"_{number:04}" for number in range(slicing.modalities)
    ]:
        reason = f"is of a case of {counted(len(paths), 'volume')}"
        raise InputError(first, reason, f"{slicing.modalities} modalities are needed, X_0000, X_0001 and so on")
    stem = _stem(names[first])
    name = stem.with_name(stem.name[:-5]) if slicing.modalities > 1 else stem
    whole = Item(image=image)
    if slicing.axis is None:
        return [_Output(paths[0], name, names[first], [whole])]  # refused when it is read
    number = plane_count(read_grid(first), slicing.axis)
    return [_Output(paths[0], name, names[first], _slices(whole, number))]


def _crowded(series: Series) -> NotedError:
    files = series.files
    some = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    reason = f"series {series.uid} has {series.crowded}, so it is not a volume"
    return NotedError(files[0].parent, reason, f"its images are taken one by one: {some}")


def _series(series: Series, names: Names, axis: Axis, named: Collection[Path], on_error: OnError) -> list[_Output]:
    """A DICOM series is named after its folder: UIDs and patients' names are free text from strangers."""
    first = series.files[0]
    image, name = first, _stem(names[first])
    if len(series.files) > 1:
        image, name = _common_folder(series.files), _common_folder([names[file] for file in series.files])
        name = name if name.name else Path(image.resolve().name)
    whole = Item.of(image, series=series.uid)
    try:
        number = plane_count(open_volume(image, series.uid), axis)
    except InputError as error:
        if not set(series.files) <= set(named):
            raise
        remedy = f"its {counted(len(series.files), 'named image is', 'named images are')} taken one by one"
        on_error(NotedError(error.source, error.reason, remedy))
        return [output for file in series.files for output in _frames(file, names[file])]
    if missing := len(series.files) > 1 and _count_others(series, image):
        for file in series.files:
            reason = f"is one of {len(series.files)} named slices of a series of {len(series.files) + missing}"
            on_error(InputError(file, reason, f"name the folder {image} to have its volume, or one slice alone"))
        return []
    return [_Output(first, name, name, _slices(whole, number))]


def _count_others(series: Series, folder: Path) -> int:
    """How many files of the same series, below the folder, are not among these."""
    whole = {file.resolve() for file in series_at(folder, series.uid).files}
    return len(whole - {file.resolve() for file in series.files})


def _common_folder(files: Sequence[Path]) -> Path:
    mixed = len({file.is_absolute() for file in files}) > 1
    return Path(os.path.commonpath([(file.absolute() if mixed else file).parent for file in files]))


def _slices(whole: Item, number: int) -> list[Item]:
    return [replace(whole, slice=index, slices=number) for index in range(number)]


def _frames(path: Path, name: Path, on_error: OnError | None = None) -> list[_Output]:
    """A mask a frame of a DICOM file; ``on_error`` is called with what is to be said of its UIDs."""
    header = read_header(path)
    if on_error:
        for words in malformed_uids(path, header):
            on_error(NotedError(path, words, UID_UNUSED))
    number = int(header.get("NumberOfFrames") or 1)
    if number == 1:
        return [_Output(path, _stem(name), name, [Item.of(path)])]
    stem, digits = _stem(name), len(str(number))
    return [
        _Output(
            path,
            stem.with_name(f"{stem.name}_frame_{frame + 1:0{digits}}"),
            name.with_name(f"{name.name}_frame_{frame + 1:0{digits}}"),
            [Item.of(path, slice=frame)],
        )
        for frame in range(number)
    ]


def _stem(name: Path) -> Path:
    """The path without the suffix of an image file; other dots belong to the name."""
    suffix = volume_suffix(name) or (name.suffix if name.suffix.lower() in {*IMAGE_SUFFIXES, ".dcm", ".dicom"} else "")
    return name.with_name(name.name[: len(name.name) - len(suffix)])


def _unique(outputs: Sequence[_Output]) -> list[str]:
    """Names without suffix; with it, then with a number, where they would clash."""
    stems = Counter(output.name for output in outputs)
    unique: dict[str, None] = {}  # a set that keeps its order
    for output in outputs:
        base = str(output.full if stems[output.name] > 1 else output.name)
        numbered = (f"{base}_{n}" for n in count(2))
        unique[base if base not in unique else next(other for other in numbered if other not in unique)] = None
    return list(unique)
