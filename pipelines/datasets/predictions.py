"""Masks that Delineate drew: predictions, and no labels before a person has corrected each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.errors import InputError, SkippedError, counted
from ..imaging.item import Item
from ..imaging.volumes.formats import volume_suffix
from ..inference.records import is_changed
from ..inference.result_table import TABLE, OwnFile
from .drawn import drafts_among, written_by_delineate
from .layouts.base import NO_IMAGE, NO_MASK, Found, are_of_one_name, by_key

_REMEDY = (
    "they are predictions, not labels: let a person correct every one of them, then index again with --corrected, "
    "or put masks that a person drew in their place"
)
_MOST = 10  # names in a note

Own = Mapping[Path, OwnFile]


def without_predictions(items: Sequence[Item], refused: Sequence[InputError], corrected: bool) -> Found:
    """What a layout found, without what a ``results.csv`` of Delineate's names.

    Of what else it names (overlays, probabilities, masks that have no image) a line for each folder says that it is
    passed over; but what a person changed is refused by name. So is an image that has a draft beside another mask.

    Args:
        items: that were found, with absolute paths.
        refused: and what was not taken.
        corrected: whether a person has corrected the masks, so that they are labels.

    Returns:
        the items, without those of predictions unless these were ``corrected``; a refusal of each folder of such.
    """
    others = [item.file for item in items] + [Path(error.source) for error in refused]
    own = written_by_delineate([*_labels(items), *others])
    images = [item for item in items if item.file not in own]
    kept = [item for item in images if corrected or not any(label in own for label in item.label)]
    predictions = {} if corrected else _by_folder(label for label in _labels(images) if label in own)
    needless = [path for path in others if path in own]
    changed = [path for path in needless if is_changed(path, own[path].sha256)]
    unpaired = [Path(error.source) for error in refused if error.reason in (NO_IMAGE, NO_MASK)]
    kept, ambiguous = _without_rivals(kept, [path for path in unpaired if path not in own], changed, own)
    return kept, [
        *(_refusal(folder, several, own) for folder, several in predictions.items()),
        *ambiguous,
        *(error for error in refused if Path(error.source) not in own),
        *map(_fits_nothing, changed),
        *(_passed_over(*several) for several in _by_folder(path for path in needless if path not in changed).items()),
    ]


def _without_rivals(items: Sequence[Item], unpaired: Sequence[Path], changed: Sequence[Path], own: Own) -> Found:
    """Without images whose label is a draft, where another file may be its correction, and a refusal of each.

    Args:
        items: that were found.
        unpaired: files that have no partner: ``a_mask_anna.png`` beside the draft ``a_mask.png``.
        changed: files of results that somebody changed, and that are no item's label: ``a_2_mask.png``.
        own: what Delineate wrote.
    """
    if not (unpaired or changed):
        return list(items), []
    drafts = drafts_among(_labels(items))
    kept: list[Item] = []
    refused: list[InputError] = []
    for item in items:
        rivals = [path for draft in item.label if draft in drafts for path in unpaired if _goes_on(path, draft)]
        if any(draft in drafts for draft in item.label):
            rivals += [path for path in changed if Path(own[path].input).name == item.file.name]
        if rivals:
            reason = f"has Delineate's draft {item.label[0].name}, and {rivals[0].name} beside it"
            refused.append(InputError(item.file, reason, "keep the right one, under the draft's name"))
        else:
            kept.append(item)
    return kept, refused


def _goes_on(path: Path, draft: Path) -> bool:
    names = (file.name.removesuffix(volume_suffix(file) or file.suffix) for file in (path, draft))
    return path.parent == draft.parent and are_of_one_name(*names)


def with_drafts_marked(items: Iterable[Item]) -> list[Item]:
    """Items, of which those are marked whose label is as Delineate drew it."""
    items = list(items)
    drafts = drafts_among(_labels(items))
    return [replace(item, draft=True) if any(label in drafts for label in item.label) else item for item in items]


def note_of_corrected(items: Sequence[Item]) -> list[str]:
    """The note on labels that Delineate drew; none where there are none."""
    drawn = written_by_delineate(_labels(items))
    if not drawn:
        return []
    which = f"{counted(len(drawn), 'mask')} drawn by Delineate ({_evidence(drawn, drawn)})"
    note = f"{which}, and corrected by a person, as --corrected says"
    drafts = list(drafts_among(drawn))
    if not drafts:
        return [note]
    names = ", ".join(path.name for path in drafts[:_MOST]) + (", ..." if len(drafts) > _MOST else "")
    return [f"{note}; {len(drafts)} of them as Delineate drew {'it' if len(drafts) == 1 else 'them'}: {names}"]


def _labels(items: Iterable[Item]) -> list[Path]:
    return list(dict.fromkeys(path for item in items for path in item.label))


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    found = by_key((str(file.parent), file) for file in files)
    return {Path(folder): several for folder, several in found.items()}


def _refusal(folder: Path, files: Sequence[Path], own: Own) -> InputError:
    reason = f"holds {counted(len(files), 'mask')} that Delineate drew ({_evidence(files, own)})"
    return InputError(folder, reason, _REMEDY)


def _evidence(files: Iterable[Path], own: Own) -> str:
    """By what they are known: without the input that a table names, by their mark."""
    return TABLE if all(own[path].input for path in files) else "a mark in the file says so"


def _fits_nothing(mask: Path) -> InputError:
    reason = "was changed since Delineate wrote it, and is the label of no image here"
    return InputError(mask, reason, "put it in the place of its image's mask, or remove it")


def _passed_over(folder: Path, files: Sequence[Path]) -> SkippedError:
    kinds = f"{TABLE}, drafts that were replaced, overlays, probabilities or the like"
    reason = f"holds {counted(len(files), 'file')} more that Delineate wrote: {kinds}"
    return SkippedError(folder, reason, "passed over; nothing to do")
