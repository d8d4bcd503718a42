"""What a user hands over to be segmented, one item after the other: names of files, arrays, Pillow's images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

from PIL import Image

from ..core.errors import DelineateError, InputError
from ..imaging.held import HeldImage, InMemory, in_memory
from ..imaging.volumes.slicing import Slicing
from .inputs import find_images

Source = str | PathLike[str] | InMemory
Sources = Source | Iterable[Source]
OnError = Callable[[InputError], None]


def stream_items(
    sources: Sources, on_error: OnError, slicing: Slicing | dict[str, Any] | None = None
) -> Iterable[dict[str, Any]]:
    """Items of what is given; files that are named together are found together, all else comes one by one.

    Args:
        sources: a file, folder, glob, array or image; several in a list, an iterator, a generator.
        on_error: called with what is refused.
        slicing: how volumes become images.

    Returns:
        items as `find_images` makes them; those of arrays and Pillow's images have a `HeldImage` for ``image``.

    Raises:
        DelineateError: ``sources`` is nothing of this kind.
    """
    if isinstance(sources, str | PathLike) or in_memory(sources):
        sources = [sources]
    if not isinstance(sources, Iterable):
        raise DelineateError(
            f"there is nothing to segment in a {type(sources).__name__}; give file names, arrays or images"
        )
    if isinstance(sources, Sequence) and all(isinstance(source, str | PathLike) for source in sources):
        return find_images([_name(source) for source in sources], on_error, slicing)
    return _one_by_one(sources, on_error, slicing)


def _one_by_one(sources: Iterable[Any], on_error: OnError, slicing: Any) -> Iterator[dict[str, Any]]:
    taken: set[str] = set()
    for number, source in enumerate(sources, start=1):
        if isinstance(source, str | PathLike):
            items: list[dict[str, Any]] = find_images(_name(source), on_error, slicing)
        elif in_memory(source):
            items = [_held(source, number)]
        else:
            reason = f"is of the type {type(source).__name__}"
            on_error(InputError(f"input {number}", reason, "give a file name, an array or an image of Pillow's"))
            continue
        names = {name: _free(name, taken) for name in dict.fromkeys(item["name"] for item in items)}
        taken |= set(names.values())
        yield from (item | {"name": names[item["name"]]} for item in items)


def _name(source: object) -> str | Path:
    return source if isinstance(source, str) else Path(str(source))


def _held(image: InMemory, number: int) -> dict[str, Any]:
    file = getattr(image, "filename", "") if isinstance(image, Image.Image) else ""
    name = Path(str(file)).stem or f"image_{number:04}"
    held = HeldImage(image, str(file) or f"input {number}")
    return {"image": held, "held": held, "name": name}  # twice: its transforms replace the image by its pixels


def _free(name: str, taken: set[str]) -> str:
    numbered = (f"{name}_{n}" for n in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)
