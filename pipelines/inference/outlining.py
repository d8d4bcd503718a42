"""The way of images through whatever outlines them: found, read ahead, inferred, put together."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..bundling.gate import Admission, Bundle
from ..bundling.several import admitted
from ..core.ahead import Attempts, ahead, lone_threads, one_by_one
from ..core.cores import usable_cores
from ..core.errors import DelineateError, InputError, NotedError, counted
from ..imaging.item import Item
from ..imaging.objects import Model
from ..imaging.structures import Structure
from ..loading.streams import Stream
from .assembler import Assembler
from .outputs import Segmentation
from .streams import Sources, stream_items

logger = logging.getLogger(__name__)
_MOST_THREADS = 8
_SPARE_CORES = 4  # with fewer, what is done beside the network makes its threads wait for each other, and all is slower
Fields = dict[Any, Any]


class Outlining(ABC):
    """What `Segmenter` and `GraphSegmenter` share.

    Args:
        bundle: folder of a bundle or run, the name of a shipped bundle, one that was let in, or several runs.
        trust: use the bundle although verification has findings.
        backend: what computes the network.
        settings: ids of ``inference.yaml`` and their values.

    Attributes:
        admission: the bundle, as it was let in.
        bundle: its folder.
        structures: what it outlines, in the order of the network's channels; none where that has no name.
        thresholds: those that are used, by the names of structures; none where the bundle does not tell.
        slicing: how volumes become images, as `Slicing.of` takes it.
        model: what DICOM objects say of the bundle.
        facts: cells that its rows in ``results.csv`` share.
    """

    admission: Admission
    bundle: Path
    structures: tuple[Structure, ...]
    thresholds: dict[str, float]
    slicing: Any
    model: Model
    facts: dict[str, str]

    def __init__(
        self, bundle: Bundle | Sequence[Bundle], *, trust: bool = False, backend: str | None = None, **settings: Any
    ) -> None:
        with admitted(bundle, trust) as admission:
            self._load(admission, backend, settings)

    @abstractmethod
    def _load(self, admission: Admission, backend: str | None, settings: Mapping[str, Any]) -> None:
        """Set the attributes, and whatever the methods below need."""

    @abstractmethod
    def _prepare(self, item: Fields) -> Fields:
        """An item as `find_images` gives it, read and on the network's grid."""

    @abstractmethod
    def _infer(self, item: Fields) -> Fields:
        """What was prepared, with the network's answer as `_finish` takes it."""

    @abstractmethod
    def _finish(self, output: Fields) -> Fields:
        """What was inferred, on the image's own grid, as `Segmentation.from_output` takes it."""

    def segment(
        self,
        sources: Sources,
        on_error: Callable[[InputError], None] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        skip: Callable[[Item], bool] | None = None,
    ) -> Generator[Segmentation, None, None]:
        """Outline each image, one after the other.

        Of several files the next ones are read and computed while a result is in use; close the generator where the
        rest is not wanted.

        Args:
            sources: files (pictures, DICOM, volumes), folders, globs; arrays (H, W) or (H, W, 3), uint8, 0-255;
                Pillow's images. One, several in a list, or an iterator, asked for the next when the last is done.
            on_error: called with each input that is refused. Without it they are logged, and the generator ends by
                raising when all others are done.
            on_progress: called with how many images and slices are done, and how many there are.
            skip: asked of each image, and each slice of a volume, before it is read; where it says yes, that is passed
                over, as what `ResultFolder.is_done` knows.

        Yields:
            one result an image, on the image's own grid; a volume's slices come together as one.

        Raises:
            DelineateError: ``sources`` is nothing of this kind; or at the end, naming the refused inputs, unless
                ``on_error`` is given.
        """
        refused: dict[str, InputError] = {}

        def refuse(error: InputError) -> None:
            if refused.setdefault(str(error), error) is error:  # what is wrong with a file is wrong with each frame
                on_error(error) if on_error else logger.error(str(error))

        yield from self.outline(stream_items(sources, refuse, self.slicing), refuse, on_progress, skip)
        if not on_error and (ends := [error for error in refused.values() if not isinstance(error, NotedError)]):
            raise DelineateError(f"{counted(len(ends), 'input')} refused: " + "; ".join(map(str, ends)))

    def outline(
        self,
        items: Iterable[Fields],
        on_error: Callable[[InputError], None],
        on_progress: Callable[[int, int], None] | None = None,
        skip: Callable[[Item], bool] | None = None,
    ) -> Generator[Segmentation, None, None]:
        """As `segment`, of items that were found.

        Args:
            items: as `find_images` gives them; a volume's slices one after the other.
            on_error: as for `segment`.
            on_progress: as for `segment`.
            skip: as for `segment`.
        """
        assembler = Assembler(self.structures, self.model)
        several = isinstance(items, Sized) and len(items) > 1  # an iterator's next is asked for when the last is done
        stream = Stream(items, self._segment_one, on_error, skip, self._ahead if several else None)
        for output in stream:
            if on_progress:
                on_progress(stream.position, stream.total)
            if (result := assembler.add(output)) is not None:
                yield result

    def _segment_one(self, item: Fields) -> Fields:
        return self._finish(self._infer(self._prepare(item)))

    @property
    def _on_cpu(self) -> bool:
        """Whether what computes the network shares its cores with all else."""
        return True

    @property
    def _one_thread_computes_the_same(self) -> bool:
        """Whether one thread gives the logits of several, to the bit."""
        return False

    def _ahead(self, items: Iterable[Fields]) -> Attempts[Fields, Fields]:
        """While a result is written, others are computed, each to the bit as if it were alone."""
        cores = usable_cores()
        others = min(cores, _MOST_THREADS)
        if self._on_cpu and self._one_thread_computes_the_same:
            return ahead(self._segment_one, one_by_one(_same, items), lone_threads(others), others)
        if self._on_cpu and cores < _SPARE_CORES:
            return one_by_one(self._segment_one, items)
        read = ahead(self._prepare, one_by_one(_same, items), lone_threads(others), 2 * others)
        inferred = ahead(self._infer, read, ThreadPoolExecutor(1, "delineate"), 2)
        return ahead(self._finish, inferred, lone_threads(1), 1)  # these are as large as the image


def _same(item: Fields) -> Fields:
    return item
