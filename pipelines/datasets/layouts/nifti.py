"""Volumes with label volumes: Medical Segmentation Decathlon, nnU-Net, or by their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import InputError, NotedError, counted, permission_denied
from ...imaging.item import Drawn, Item
from ...imaging.volumes.formats import volume_suffix
from .base import Found, Layout, ambiguous, by_key, is_hidden, orphan, pair
from .drafts import without_drafts
from .folders import results_folder
from .naming import REVISION

_LABEL = re.compile(rf"(.+?)[._-]([a-z]*seg|segmentation|labels?|mask)({REVISION})?", re.I)
_MODALITY = re.compile(r"(.+)(_\d{4})")

Folders = list[tuple[Path, Path | None]]


def nifti(source: Path) -> Found:
    """Volumes with label volumes; the group is the case, by its file name.

    Read is the first of these that is there:

    - the ``training`` and ``test`` (unlabelled) lists of a Decathlon's ``dataset.json``;
    - folders whose names differ by ``images`` and ``labels`` (or ``masks``), with equal file names in them; what stands
      before ``images`` is the class (``fixed_images``). So has nnU-Net it (``imagesTr``, ``labelsTr``), with modalities
      ``CASE_0000``, ``CASE_0001``. An ``images`` folder without the other is unlabelled;
    - a folder of volumes, and what ``delineate segment`` wrote beside it;
    - one folder with ``X`` and ``X_seg``, ``X_label`` or ``X_mask``; where none has a label, all are unlabelled.

    Where a ``dataset.json`` names several labels, each is a structure.
    """
    listed, folders = _listed(source), _folders(source)
    if listed:
        items, refused = _decathlon(source, listed)
    else:
        items, refused = _of_folders(folders) if folders else _of_one_folder(source)
    structures, remarks = _structures(source / "dataset.json")
    return [replace(item, structures=structures if item.label else {}) for item in items], refused + remarks


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing: also where volumes are named like folders, as labels of series are."""
    if _listed(source):
        return "dataset.json lists volumes"
    named = [f"{images.name}/ with {labels.name}/" for images, labels in _folders(source) if labels]
    volumes = _volumes(source)
    if named:
        return f"holds volumes in {' and '.join(named)}"
    if all((source / label_key(stem(volume))).is_dir() for volume in volumes):
        return ""
    return f"holds {counted(len(volumes), 'volume')}, e.g. {volumes[0].name}"


def is_volume(file: Path) -> bool:
    """Whether it is named like a volume, and not hidden."""
    return volume_suffix(file) is not None and not is_hidden(file)


def stem(volume: Path) -> str:
    """The name of a volume without its suffix, ``.nii.gz`` in one."""
    return volume.name[: -len(volume_suffix(volume) or "")]


def label_key(name: str) -> str:
    """The name of what a label is the label of: without ``_seg`` and the like."""
    match = _LABEL.fullmatch(name)
    return match[1] if match else name


def _volumes(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if is_volume(file) and file.is_file()]


def _listed(source: Path) -> dict[str, Any]:
    """What a Decathlon's ``dataset.json`` holds; nothing where no image it lists is there (as in nnU-Net's)."""
    try:
        listed: dict[str, Any] = json.loads((source / "dataset.json").read_text(encoding="utf-8"))
        names = [str(entry["image"]) for entry in listed["training"]]
    except PermissionError as error:
        raise permission_denied(source / "dataset.json") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return listed if any(os.path.isfile(source / name) for name in names) else {}


def _structures(file: Path) -> tuple[dict[str, Drawn | None], list[InputError]]:
    """The labels that a ``dataset.json`` names, of a Decathlon (value to name) or nnU-Net (name to value, or values).

    None where there is only one, or no such file; what is to be known of labels that are no structure.
    """
    try:
        named = [_label(*pair) for pair in json.loads(file.read_text(encoding="utf-8"))["labels"].items()]
    except PermissionError as error:
        raise permission_denied(file) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}, []
    remarks: list[InputError] = [
        NotedError(file, f"has an ignore label ({values[0]})", "its pixels are taken for background")
        for name, values in named
        if name == "ignore"
    ]
    found: dict[str, Drawn | None] = {
        name: Drawn(values=values) for name, values in named if values != (0,) and name != "ignore"
    }
    return (found if len(found) > 1 else {}), remarks


def _label(key: str, value: str | int | list[int]) -> tuple[str, tuple[int, ...]]:
    """The name and the values of a label: ``"1": "liver"`` of a Decathlon, ``"liver": 1`` or ``[1, 2]`` of nnU-Net."""
    if isinstance(value, str) and not value.isdigit():
        return _plain(value), (int(key),)
    return _plain(key), tuple(map(int, value)) if isinstance(value, list) else (int(value),)


def _plain(name: str) -> str:
    """A structure's name from a label's, which may have signs in it that no file should."""
    return re.sub(r"[^\w()+-]+", " ", name.replace("_", " ")).strip()


def _decathlon(source: Path, listed: Mapping[str, Any]) -> Found:
    items: list[Item] = []
    refused: list[InputError] = []
    test = listed.get("test")
    entries = [*listed["training"], *({"image": name} for name in (test if isinstance(test, list) else []))]
    for number, entry in enumerate(entries, start=1):
        try:
            image, *label = (_inside(source, entry[key]) for key in ("image", "label") if key in entry)
        except ValueError as error:
            reason = f"entry {number} names {error}"
            refused.append(InputError(source / "dataset.json", reason, "correct the entry, or remove it"))
        else:
            items.append(Item.of(image, *label, group=stem(image)))
    return items, refused


def _inside(source: Path, name: object) -> Path:
    """The volume of that name, which must lie below the folder: strangers wrote it.

    Raises:
        ValueError: it does not, or is none.
    """
    inner = Path(os.path.normpath(str(name)))
    path = source / inner
    if inner.anchor or ".." in inner.parts:
        raise ValueError(f"{str(name)!r}, which lies outside of the folder")
    if not (is_volume(path) and os.path.isfile(path)):
        raise ValueError(f"{str(name)!r}, which is no volume here")
    return path


def _folders(source: Path) -> Folders:
    """Folders of volumes, each with that of its labels; none where no folder has labels."""
    entries = {entry.name.lower(): entry for entry in sorted(source.iterdir()) if entry.is_dir()}
    folders = [
        (folder, next((entries[other] for other in _counterparts(name) if other in entries), None))
        for name, folder in entries.items()
        if "images" in name and not is_hidden(folder) and _volumes(folder)
    ]
    return folders if any(labels for _, labels in folders) else _with_results(source, list(entries.values()))


def _with_results(source: Path, entries: list[Path]) -> Folders:
    """The only folder of volumes, with what ``delineate segment`` wrote beside it."""
    results = results_folder(source)
    if results is None or not _volumes(results):
        return []
    others = [folder for folder in entries if folder != results and not is_hidden(folder) and _volumes(folder)]
    return [(others[0], results)] if len(others) == 1 else []


def _counterparts(name: str) -> list[str]:
    return [name.replace("images", word) for word in ("labels", "masks")]


def _of_folders(folders: Folders) -> Found:
    items: list[Item] = []
    refused: list[InputError] = []
    has_modalities = _has_modalities(folders)
    for images, labels in folders:
        found, unpaired = _of_pair(images, labels, has_modalities)
        name = images.name.lower().partition("images")[0].strip("_- ")
        items += [replace(item, class_name=name) for item in found]
        refused += unpaired
    return items, refused


def _has_modalities(folders: Folders) -> bool:
    """Whether the volumes are named like nnU-Net's: all end in a number that no label has."""
    images = {stem(file) for folder, _ in folders for file in _volumes(folder)}
    labels = {stem(file) for _, folder in folders if folder for file in _volumes(folder)}
    return all(map(_MODALITY.fullmatch, images)) and images.isdisjoint(labels | set(map(label_key, labels)))


def _of_pair(images: Path, labels: Path | None, has_modalities: bool) -> Found:
    cases = by_key((_case(stem(file), has_modalities), file) for file in _volumes(images))
    whole, refused = _whole_cases(cases)
    if labels is None:
        items = [Item.of(files[0], group=case) for case, files in whole.items()]
    else:
        volumes, drafts = without_drafts(_volumes(labels), stem)
        refused += drafts
        names = {file: stem(file) for file in volumes}
        masks = by_key((name if name in cases else label_key(name), file) for file, name in names.items())
        masks = {case: files for case, files in masks.items() if case in whole or case not in cases}
        items, unpaired = pair({case: files[:1] for case, files in whole.items()}, masks)
        refused += unpaired
    return [replace(item, image=tuple(whole[item.group])) for item in items], refused


def _case(name: str, has_modalities: bool) -> str:
    return _MODALITY.sub(r"\1", name) if has_modalities else name


def _whole_cases(cases: Mapping[str, list[Path]]) -> tuple[dict[str, list[Path]], list[InputError]]:
    """The cases that have each modality once, and refusals of the others."""
    endings = {case: [stem(file)[len(case) :] for file in files] for case, files in cases.items()}
    needed = sorted(set().union(*endings.values()))
    refused: list[InputError] = []
    for case, files in cases.items():
        missing = ", ".join(case + ending for ending in needed if ending not in endings[case])
        if missing:
            refused.append(InputError(files[0], f"lacks the modality {missing}", "add it, or remove the case"))
        elif len(files) > len(needed):
            refused += [ambiguous(file, "image", files) for file in files]
    return {case: files for case, files in cases.items() if sorted(endings[case]) == needed}, refused


def _of_one_folder(source: Path) -> Found:
    volumes, drafts = without_drafts(_volumes(source), stem)
    keys = {file: label_key(stem(file)) for file in volumes}
    images = by_key((key, file) for file, key in keys.items() if key == stem(file))
    labels = by_key((key, file) for file, key in keys.items() if key != stem(file))
    if images.keys() & labels.keys():
        items, unpaired = pair(images, labels)
        return items, drafts + unpaired
    unlabelled = [Item.of(file, group=key) for key, files in images.items() for file in files]
    return unlabelled, [orphan(file) for files in labels.values() for file in files]


NIFTI = Layout(
    _matches,
    "volumes as of a Decathlon or nnU-Net, images/ with labels/, or X.nii.gz with X_seg.nii.gz",
    nifti,
)
