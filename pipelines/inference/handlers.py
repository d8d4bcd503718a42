"""Handlers of an evaluator that makes masks: what stock ``monai.bundle run`` of ``inference.yaml`` leaves behind."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..core.errors import InputError, SkippedError, counted
from ..imaging.objects import SegType
from ..imaging.writers import VolumeFormat
from .assembler import Assembler
from .familiarity import unfamiliar_warning
from .files import OutputOptions
from .inferer import backend_of
from .result_table import TABLE
from .results import ResultFolder, facts_of, model_of, shown_path, used_thresholds

logger = logging.getLogger(__name__)


class MaskWriter:
    """Writes the masks of an evaluator, a PNG a structure of an image, a file of a volume, and ``results.csv``.

    Args:
        output_dir: folder of the masks.
        overlay: whether to draw the outline into a copy of the image, too.
        probability: whether to write the probabilities, too.
        volume_format: of masks of volumes: ``nii.gz``, ``nii``, ``nrrd`` or ``mha``.
        bundle_root: the bundle's folder, whose hash the table names.
        threshold: of the probabilities, which the table names: as for `StructureMasksd`.
        dataset: the streamed data set; what it refused is in the table, too.
        structures: in the order of the channels, as for `StructureMasksd`.
        exclusive: whether no pixel is of two structures.
        label_map: write one file for all structures instead of a mask each; what overlaps is refused.
        formats: what is written instead of masks alone, e.g. ``[png, seg]``; see `write_segmentation`.
        seg_type: of a DICOM SEG: ``binary``, ``fractional`` or ``labelmap``.
        tta: of which views probabilities are the mean, which the table names: as for `PrecisionInferer`.
    """

    def __init__(
        self,
        output_dir: str | Path,
        overlay: bool = False,
        probability: bool = False,
        volume_format: VolumeFormat = "nii.gz",
        bundle_root: str | Path | None = None,
        threshold: Any = None,
        dataset: Any = None,
        structures: Sequence[Mapping[str, Any]] | None = None,
        exclusive: bool = False,
        label_map: bool = False,
        formats: str | Sequence[str] | None = None,
        seg_type: SegType = "binary",
        tta: str | None = None,
    ) -> None:
        self.output_dir, self.dataset, self._tta = output_dir, dataset, tta
        self._options = OutputOptions.of(
            formats,
            overlay=overlay,
            probability=probability,
            volume_format=volume_format,
            label_map=label_map,
            seg_type=seg_type,
        )
        self._bundle_root, self._structures = bundle_root, structures
        self._thresholds = used_thresholds(structures, threshold, exclusive)
        self._assembler, self._refused = Assembler(structures), 0

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def started(self, engine: Engine) -> None:
        """Open the folder: one that cannot be written is refused before the work."""
        backend = backend_of(engine)
        facts = facts_of(self._bundle_root, self._tta, backend)
        self._folder = ResultFolder(self.output_dir, facts, self._thresholds, self._options)
        model = model_of(self._bundle_root, self._thresholds, self._tta, backend)
        self._assembler = Assembler(self._structures, model)
        self._refused, self._done, self._unfamiliar = 0, 0, list[str]()

    def __call__(self, engine: Engine) -> None:
        """Write what this iteration brought."""
        self._write_refused()
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            result = self._assembler.add({**item, **output})
            if result is None:
                continue
            try:
                paths = self._folder.write(result)
            except InputError as error:
                logger.error(str(error))
                self._folder.refuse(error)
                if self.dataset is not None:
                    self.dataset.refused.append(error)
                    self._refused += 1
                continue
            self._done += 1
            self._unfamiliar += [result.label] if result.familiar is False else []
            logger.info(f"{result.label} -> {shown_path(paths, result)} ({result.extent})")

    def completed(self, _: Engine) -> None:
        """Write what was refused last; name what is unfamiliar."""
        self._write_refused()
        if self._unfamiliar:
            logger.warning(unfamiliar_warning(self._unfamiliar, self._done, TABLE))

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Say what was refused last; that all inputs are is no error here.

        Raises:
            BaseException: what ended the work, which ignite would else swallow.
        """
        self._write_refused()
        if not isinstance(error, ValueError) or engine.state.iteration or not self.dataset or not self.dataset.refused:
            raise error

    def _write_refused(self) -> None:
        refused = self.dataset.refused if self.dataset is not None else []
        for error in refused[self._refused :]:
            self._folder.refuse(error)
        self._refused = len(refused)


def end_with_refused(dataset: Any) -> None:
    """End the process with exit code 1 when the data set refused inputs; as the last step of a workflow.

    Raises:
        SystemExit: the message counts them; they were named when they were refused.
    """
    refused = [error for error in dataset.refused if not isinstance(error, SkippedError)]
    if refused:
        raise SystemExit(f"{counted(len(refused), 'input')} refused; see above")
