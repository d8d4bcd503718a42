"""The one class inside: every interface that makes masks from images calls :class:`Segmenter`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from threading import Lock
from typing import Any

import torch
from monai.bundle import ConfigParser

from ..bundling.gate import Admission, Bundle
from ..bundling.settings import backend_settings, refuse_unknown, refuse_wrong_values
from ..bundling.several import admitted
from ..core.ahead import Attempts, ahead, lone_threads, one_by_one
from ..core.cores import usable_cores, use_own_cores
from ..core.errors import DelineateError, InputError, NotedError, counted, plain_errors
from ..imaging.item import Item
from ..imaging.structures import structures_of
from ..loading.datasets import StreamDataset
from .assembler import Assembler
from .backends.runner import Runner
from .familiarity import DISTANCE, noted_distance
from .inferer import computed_by
from .outputs import Segmentation
from .results import facts_of, model_of, used_thresholds
from .streams import Sources, stream_items

logger = logging.getLogger(__name__)
_MOST_THREADS = 8
_SPARE_CORES = 4  # with fewer, what is done beside the network makes its threads wait for each other, and all is slower
Fields = dict[Any, Any]


class Segmenter:
    """Loads a bundle's ``inference.yaml`` once and outlines what it is trained for in any number of images.

    Args:
        bundle: folder of a bundle or run, the name of a shipped bundle, or one that was let in (`admit`); of several
            runs in a list, the mean of their probabilities is taken, as `make_ensemble` does.
        trust: use the bundle although verification has findings; it may then run any code.
        backend: what computes the network: ``"torch"``, ``"onnxruntime"``, ``"openvino"``, or ``"auto"``, the fastest
            on this machine; where ``None``, the bundle's own setting, which is torch unless it was set.
        settings: ids of ``inference.yaml`` and their values, e.g. ``threshold=0.3``, ``threshold={"heart": 0.3}``,
            ``device="cpu"``, ``tta="flips"``.

    Attributes:
        structures: what it outlines, in the order of the network's channels; none where that has no name.
        thresholds: those that are used, by the names of structures; none where the bundle does not tell.
        model: what DICOM objects say of the bundle.
        facts: cells that its rows in ``results.csv`` share.

    Raises:
        UnknownNameError: when there is no such bundle or backend, or its ``inference.yaml`` has no such setting.
        UnverifiedError: when it is no part of the package, and verification has findings.
        DelineateError: when it has no weights, they do not fit, a setting cannot be what it is, or several runs
            prepare images differently.

    Example::

        for result in Segmenter("runs/skin").segment(["photos"]):
            print(result.source, {name: mask.sum() for name, mask in result.masks.items()})
    """

    def __init__(
        self, bundle: Bundle | Sequence[Bundle], *, trust: bool = False, backend: str | None = None, **settings: Any
    ) -> None:
        with admitted(bundle, trust) as admission:
            self._load(admission, backend, settings)

    def _load(self, admission: Admission, backend: str | None, settings: Mapping[str, Any]) -> None:
        self.admission, self.bundle = admission, admission.folder
        parser = ConfigParser()
        parser.read_config(str(self.bundle / "configs" / "inference.yaml"))
        parser.read_meta(str(self.bundle / "configs" / "metadata.json"))
        refuse_unknown(self.bundle, parser.config, "inference", settings)
        refuse_wrong_values(parser.config | settings)
        by_backend = backend_settings(self.bundle, parser.config, backend, settings)
        parser.update({"bundle_root": str(self.bundle), **settings, **by_backend})
        with plain_errors():
            self.device = torch.device(parser.get_parsed_content("device"))
            self.network = parser.get_parsed_content("network")
            self.preprocessing = parser.get_parsed_content("preprocessing")
            structures, threshold, exclusive, self.slicing, tta = (
                parser.get_parsed_content(id_) if id_ in parser else None
                for id_ in ("structures", "threshold", "exclusive", "slicing", "tta")
            )
            self.structures = structures_of(structures)
            self.thresholds = used_thresholds(structures, threshold, bool(exclusive))
            self.inferer = parser.get_parsed_content("inferer")
            backend = computed_by(self.inferer, self.network, self.device)
            self.model = model_of(admission, self.thresholds, tta, backend)
            self.facts = facts_of(admission, tta, backend)
            self.in_channels = int(parser.get_parsed_content("in_channels"))
            rows, columns = parser.get_parsed_content("window")
            self.postprocessing = parser.get_parsed_content("postprocessing")
        self.window: tuple[int, int] = (rows, columns)
        self._grid: tuple[int, ...] = tuple(
            parser.get_parsed_content("image_size" if "image_size" in parser else "window")
        )
        self._finishing = Lock()  # Invertd changes the transforms that it inverts, for the time of a call

    def __repr__(self) -> str:
        return f"<Segmenter of {self.bundle} on {self.device}>"

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
        stream = StreamDataset(items, self._segment_one, on_error, skip, self._ahead if several else None)
        for output in stream:
            if on_progress:
                on_progress(stream.position, stream.total)
            if (result := assembler.add(output)) is not None:
                yield result

    def _segment_one(self, item: Fields) -> Fields:
        return self._finish(self._infer(self.preprocessing(item)))

    def _ahead(self, items: Iterable[Fields]) -> Attempts[Fields, Fields]:
        """While a result is written, others are computed, each to the bit as if it were alone."""
        on_cpu = self.device.type == "cpu"
        if on_cpu:
            use_own_cores()
        cores = usable_cores()
        others = min(cores, _MOST_THREADS)
        if on_cpu and self._one_thread_computes_the_same:
            return ahead(self._segment_one, one_by_one(_same, items), lone_threads(others), others)
        if on_cpu and cores < _SPARE_CORES:
            return one_by_one(self._segment_one, items)
        read = ahead(self.preprocessing, one_by_one(_same, items), lone_threads(others), 2 * others)
        inferred = ahead(self._infer, read, ThreadPoolExecutor(1, "delineate"), 2)
        return ahead(self._finish, inferred, lone_threads(1), 1)  # these are as large as the image

    @cached_property
    def _one_thread_computes_the_same(self) -> bool:
        """Whether one thread gives the logits of several, to the bit; of float32 some kernels share out their sums.

        Which kernels depends on shapes, and all images have that of the network's grid.
        """
        if (usual := torch.get_num_threads()) == 1:
            return True
        if isinstance(self.network, Runner):  # its threads are its own
            return False
        image = torch.rand(1, self.in_channels, *self._grid, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = self.inferer(image, self.network)
            torch.set_num_threads(1)
            try:
                return bool(torch.equal(self.inferer(image, self.network), logits))
            finally:
                torch.set_num_threads(usual)

    @torch.no_grad()
    def _infer(self, item: Fields) -> Fields:
        """As ``SupervisedEvaluator`` does it, for a batch of one image (1, C, H, W)."""
        image = item["image"][None].to(self.device)
        logits = self.inferer(image, self.network)
        item["image"].meta[DISTANCE] = noted_distance(image)
        known = {key: item[key] for key in ("image", "name", "held") if key in item}
        return {**known, "pred": logits[0]}

    @torch.no_grad()
    def _finish(self, output: Fields) -> Fields:
        with self._finishing:
            finished: Fields = self.postprocessing(output)
        return finished


def _same(item: Fields) -> Fields:
    return item
