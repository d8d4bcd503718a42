"""Images and masks paired by their names: equal, or with a word in place of another."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError
from .base import Found, by_key, pair

_MASK = r"masks?|seg(?:mentations?)?|gt|ground[ _-]?truth|labels?|anno(?:tations?)?|lesion"
_IMAGE = r"image|img|orig(?:inal)?|raw|rgb"
REVISION = r"[ _.-]+(?:correct(?:ed|ion)|edit(?:ed)?|fixed|final|manual|review(?:ed)?|revised|v\d+)"
_BEFORE = re.compile(rf"(?:{_MASK})(?:[ _.-]+|(?=\d))(.+)", re.I)
_AFTER = re.compile(rf"(.+?)(?:[ _.-]+|(?<=\d))(?:{_MASK})(?:{REVISION})?", re.I)
_IMAGE_AFTER = re.compile(rf"(.+?)[ _.-]+(?:{_IMAGE})", re.I)
_EQUAL = "equal names"

Forms = dict[str, str]
"""What is left of a name without its word, and the name with ``*`` in place of that."""


def match(images: Sequence[Path], masks: Sequence[Path]) -> Found:
    """Pair files by their names without suffix; the group is the image's.

    Equal names go before all else. Else the mask's name has a word for masks before or after what it shares with the
    image's (``mask_1``, ``a_gt``), after it also with a word for revisions (``a_mask_corrected``), whose name is that,
    or has a word for images after it (``a_image``), or begins as all images do (``bus_1``). What fits several images,
    or several masks of one image, is refused; the way in which a pair was found is its rule.
    """
    keys = _names_of(images, masks)
    names = set(keys.values())
    forms = _image_forms(sorted(names))
    found = {mask: {mask.stem: _EQUAL} if mask.stem in names else _fits(mask.stem, forms) for mask in masks}
    refused = [_of_several(mask, fits) for mask, fits in found.items() if len(fits) > 1]
    keyed = [(next(iter(fits), mask.stem), mask) for mask, fits in found.items() if len(fits) < 2]
    items, unpaired = pair(by_key((keys[image], image) for image in images), by_key(keyed))
    return [replace(item, rule=found[item.label[0]][item.group]) for item in items], refused + unpaired


def _names_of(images: Sequence[Path], masks: Sequence[Path]) -> dict[Path, str]:
    """What masks are named after: images without suffix, or with it (``a.jpg_mask``) where ``a.png`` is there, too."""
    stems = Counter(image.stem for image in images)
    whole = {form for mask in masks for form in (mask.stem, *mask_forms(mask.stem))}
    return {image: image.name if stems[image.stem] > 1 and image.name in whole else image.stem for image in images}


def separate_masks(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Images and masks that lie in one folder; no masks where no two files are a pair."""
    stems = {file.stem for file in files}
    forms = _image_forms(sorted(stem for stem in stems if not mask_forms(stem)))
    masks = [file for file in files if _fits(file.stem, forms)]
    if not masks:
        return list(files), []
    masks = [file for file in files if mask_forms(file.stem)]
    return [file for file in files if file not in set(masks)], masks


def without_revision(stem: str) -> str:
    """The name of the mask that a mask is a revision of (``a_mask_corrected``: ``a_mask``); else its own."""
    shorter = re.sub(rf"{REVISION}$", "", stem, flags=re.I)
    return shorter if shorter and mask_forms(shorter) else stem


def mask_forms(stem: str) -> Forms:
    """The forms of a name that has a word for masks; nothing where it has none."""
    forms: Forms = {}
    if after := _AFTER.fullmatch(stem):
        forms[after[1]] = f"*{stem[len(after[1]) :]}"
    if before := _BEFORE.fullmatch(stem):
        forms[before[1]] = f"{stem[: -len(before[1])]}*"
    return forms


def _image_forms(stems: Sequence[str]) -> dict[str, Forms]:
    """Stems and their patterns by what the stems come down to."""
    forms: dict[str, Forms] = {}
    beginnings = list(_beginnings(stems))
    for stem in stems:
        forms.setdefault(stem, {})[stem] = "*"
        if after := _IMAGE_AFTER.fullmatch(stem):
            forms.setdefault(after[1], {})[stem] = f"*{stem[len(after[1]) :]}"
        for beginning in beginnings:
            forms.setdefault(stem[len(beginning) :], {})[stem] = f"{beginning}*"
    return forms


def _beginnings(stems: Sequence[str]) -> Iterator[str]:
    """What all names begin with, up to a number or a separator; digits are no part of it."""
    first = min(stems, default="")
    for end in re.finditer(r"(?<=[ _.-])(?=[^ _.-])|(?<=[^\W\d_])(?=\d)", first):
        beginning = first[: end.start()]
        if not re.search(r"\d", beginning) and all(
            stem.startswith(beginning) and len(stem) > len(beginning) for stem in stems
        ):
            yield beginning


def _fits(mask: str, forms: dict[str, Forms]) -> Forms:
    """The images that a mask fits, and by which rule."""
    return {
        stem: f"{pattern} with {own}"
        for shared, own in mask_forms(mask).items()
        for stem, pattern in forms.get(shared, {}).items()
    }


def _of_several(mask: Path, fits: Forms) -> InputError:
    reason = f"fits several images ({', '.join(sorted(fits))})"
    return InputError(mask, reason, "name it after its image, or write a table of images and labels")
