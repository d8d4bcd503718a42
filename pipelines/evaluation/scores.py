"""Scores that an evaluator leaves behind."""

from __future__ import annotations

import json
import logging
from bisect import insort
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from ..bundling.bundles import members_of
from ..bundling.gate import fingerprint
from ..bundling.provenance import provenance
from ..core.errors import DelineateError, counted, printable
from ..datasets.datalist import Datalist
from ..datasets.seen import SEEN, marks, read_seen
from ..datasets.splitting.splits import split_words
from ..imaging.item import Item
from ..imaging.structures import UNANNOTATED, Structure, structures_of
from ..imaging.volumes.slicing import Slicing
from ..inference.familiarity import noted_distance, unfamiliar_warning
from ..inference.inferer import backend_of
from .columns import Columns, key_of
from .evaluation import SCORES, write_evaluation
from .headline import headline
from .intervals import interval_text, value_text
from .metrics import METRICS
from .precision_recall import BINS, probability_histogram
from .protocol import drafts_text
from .rows import score_masks
from .scored import MOST, Evaluation, Row, Worst, columns_of, suffixes_of
from .volumes import VolumeMasks, slice_count

logger = logging.getLogger(__name__)

Bytes = NDArray[np.uint8]


class ScoreWriter:
    """Scores each image with all of `METRICS` and the evaluator's own metrics, and writes what `write_evaluation` does.

    Where there are several structures, each is scored, and the mean over them. An image counts for the structures that
    are annotated in it; a value that is not finite counts for none, and is counted itself.

    Args:
        output_dir: folder of the files.
        dataset_dir: the data set's folder.
        split: the split that was scored.
        dataset: the streamed data set; what it refused is counted and named.
        structures: those of the channels, as the bundle names them; one without a name where ``None``.
        bundle_root: the bundle's folder, which is named.
        subgroups: columns by which images are divided: fields of the data list's items, ``size``, or columns of the
            table; by ``class``, ``source`` and ``size``, where there are such, where ``None``.
        table: a CSV file with a column of the images' names, and others; see `Columns`.
        failures: scores beyond which an image counts as failed, e.g. ``{"mean_dice": 0.7}``; `FAILURES` where ``None``.
        tolerance_mm: of the normalised surface Dice where the size of pixels is known.
        threshold: of the probabilities; it is written down.
        tta: over which views of an image probabilities are means; it is written down.
        page: whether to write ``report.html`` and ``figures``, too.

    Raises:
        DelineateError: there is no such column or metric, or the table cannot be used.
    """

    def __init__(
        self,
        output_dir: str | Path,
        dataset_dir: str | Path,
        split: str,
        dataset: Any,
        structures: Sequence[Mapping[str, Any]] | None = None,
        bundle_root: str | Path | None = None,
        subgroups: str | Sequence[str] | None = None,
        table: str | Path | None = None,
        failures: Mapping[str, float] | None = None,
        tolerance_mm: float = 2.0,
        threshold: Any = None,
        tta: str | None = None,
        page: bool = True,
    ) -> None:
        self.output_dir, self.dataset_dir, self.split, self.dataset = Path(output_dir), dataset_dir, split, dataset
        self.structures, self.tolerance_mm = structures_of(structures), float(tolerance_mm)
        self._bundle_root, self._tta, self._page = bundle_root, tta, page
        self._columns = Columns(dataset_dir, subgroups, table)
        self._settings = {
            "threshold": threshold,
            "subgroups": self._columns.subgroups,
            "failures": failures,
            "tolerance_mm": self.tolerance_mm,
        }
        self._start()

    def _start(self) -> None:
        self._rows: list[Row] = []
        self._names: Sequence[Structure] = ()
        self._histograms: NDArray[np.int64] | None = None
        self._worst: list[Worst] = []
        self._volumes: VolumeMasks | None = None
        self._drafts = any(fields.get("draft") for fields in self.dataset.data)
        known = read_seen(Path(self._bundle_root) / SEEN) if self._bundle_root else frozenset()
        listed = (item for _, item in Datalist.read(self.dataset_dir).labelled()) if known else ()
        self._seen = {key_of(item) for item in listed if marks(item) & known}
        self._columns.missing.clear()

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def started(self, _: Engine) -> None:
        """Start anew."""
        self._start()

    def iteration_completed(self, engine: Engine) -> None:
        """Score the images of a batch.

        Raises:
            DelineateError: the masks are of other structures than the bundle names.
        """
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self._score(item, output)

    def _score(self, fields: Mapping[str, Any], output: Mapping[str, Any]) -> None:
        """Score one image: its row, its place among the worst, its part of the histogram and of a volume."""
        prediction, reference = (_masks(output[key]) for key in ("pred", "label"))
        self._names = self._named(len(reference))
        suffixes = suffixes_of(self._names)
        item, slicing, spacing = _read_item(fields["image"].meta)
        row: Row = {"image": printable(item.file)}
        row |= {name: fields[name] for name in ("slice", "series") if name in fields}
        known = {name: fields[name] for name in ("group", "class", "source") if name in fields}
        known |= self._columns.of(item, fields)
        if slices := slice_count(item, slicing):
            row["slices"] = slices
        row |= {name: printable(value) if isinstance(value, str) else value for name, value in known.items()}
        if self._drafts:
            row["draft"] = int(bool(fields.get("draft")))
        if self._seen:
            row["seen"] = int(key_of(item) in self._seen)
        if (distance := noted_distance(output["image"])) is not None:
            row |= {"familiar": int(distance <= 1), "feature_distance": distance}
        row |= score_masks(prediction, reference, suffixes, spacing, self.tolerance_mm)
        self._rows.append(row)
        self._add_worst(row, item, slicing, prediction, reference)
        if "probability" in output:
            self._add_probabilities(output["probability"], reference)
        if slices:
            self._volumes = self._volumes or VolumeMasks(suffixes, self.tolerance_mm)
            self._volumes.add(row, item, slicing, prediction, reference)

    def _add_worst(self, row: Row, item: Item, slicing: Slicing, prediction: Bytes, reference: Bytes) -> None:
        """Keep the masks where this is one of the images with the lowest Dice so far."""
        dice, last = row["mean_dice"], self._worst[-1] if len(self._worst) == MOST else None
        if dice is None or (last and dice >= self._rows[last.row]["mean_dice"]):
            return
        one = Worst.of(len(self._rows) - 1, item, prediction, reference, slicing=slicing, structures=self._names)
        insort(self._worst, one, key=lambda worst: self._rows[worst.row]["mean_dice"])
        del self._worst[MOST:]

    def _add_probabilities(self, probability: torch.Tensor, reference: Bytes) -> None:
        """Add to the histograms of the structures that are annotated."""
        if self._histograms is None:
            self._histograms = np.zeros((len(reference), 2, BINS), np.int64)
        for sums, plane, drawn in zip(self._histograms, probability, reference, strict=True):
            if drawn.flat[0] != UNANNOTATED:
                sums += probability_histogram(plane.as_subclass(torch.Tensor), torch.from_numpy(drawn))

    def _named(self, planes: int) -> Sequence[Structure]:
        """The structures of several planes."""
        if self.structures and planes != len(self.structures):
            raise DelineateError(
                f"the bundle names {len(self.structures)} structures, its masks are of {planes}; "
                "set structures and out_channels alike"
            )
        return self.structures or [Structure(str(index + 1)) for index in range(planes)]

    def completed(self, engine: Engine) -> None:
        """Write what was found.

        Raises:
            DelineateError: a metric does not give one value a structure.
        """
        suffixes = suffixes_of(self._names)
        details = getattr(engine.state, "metric_details", None) or {}
        for name, found in details.items():
            self._note(name, found, suffixes)
        evaluation = Evaluation(
            rows=self._rows,
            metrics=list(dict.fromkeys([*METRICS, *details])),
            structures=tuple(self._names),
            histograms=self._histograms,
            facts={
                "split": self.split,
                "refused": [str(error) for error in self.dataset.refused],
                "settings": self._settings,
                "tta": self._tta,
                "backend": backend_of(engine),
                **self._provenance(),
            },
            worst=self._worst,
            volumes=self._volumes.rows if self._volumes else [],
        )
        self._tell(write_evaluation(evaluation, self.output_dir, self._page))

    def _note(self, name: str, found: Any, suffixes: Sequence[str]) -> None:
        """Put the values of a metric of the evaluator into the rows: they go before ours of the same name."""
        annotated = np.array(
            [[row[f"reference_pixels{suffix}"] is not None for suffix in suffixes] for row in self._rows]
        )
        for row, values in zip(self._rows, _table(name, found, annotated), strict=True):
            row |= columns_of(name, [float(value) if np.isfinite(value) else None for value in values], suffixes)

    def _provenance(self) -> dict[str, Any]:
        """Versions, commit, data and the bundle, which is named, with its members, where its folder is known."""
        found = provenance(self.dataset_dir)
        if self._bundle_root is None:
            return found
        root = Path(self._bundle_root).absolute()
        recorded = found["bundle"] or {"hash": fingerprint(root)}
        members = members_of(root)
        bundle = {"path": str(root), "name": root.name} | recorded
        if paths := recorded.get("members"):  # its folder is temporary, those of its members are not
            bundle = {"name": f"ensemble of {counted(len(paths), 'network')}"} | recorded
        again = sum(row.get("seen") == 1 for row in self._rows)
        more = ({"members": members} if members else {}) | ({"seen_in_training": again} if again else {})
        return found | {"bundle": bundle} | more

    def _tell(self, metrics: Mapping[str, Any]) -> None:
        """Log the main scores, and what is to be known of them."""
        logger.info(f"{counted(metrics['count'], 'image')} of {split_words(self.split)}: {_summary(metrics)}")
        for name, found in metrics.get("structures", {}).items():
            logger.info(f"{name}: {_summary(found)}")
        unknown = [name for name in self._settings["failures"] or () if name not in metrics]
        if unknown:
            logger.warning(f"failures name {', '.join(unknown)}, which is no score of this evaluation; it is left out")
        if missing := self._columns.missing:
            logger.warning(
                f"{counted(len(missing), 'image')} without a row in {self._columns.table}, e.g. {missing[0]}; its "
                "columns are not known of them"
            )
        if again := metrics.get("seen_in_training"):
            logger.warning(
                f"the network has seen {again} of these images in its training, so the scores are too good; "
                f"evaluate it on others ({SCORES} has 1 in its column seen)"
            )
        if drafts := drafts_text(metrics.get("drafts", 0)):
            logger.warning(drafts)
        if names := [row["image"] for row in self._rows if row.get("familiar") == 0]:
            logger.warning(unfamiliar_warning(names, metrics["familiar"]["count"], SCORES, "0"))
        self._warn_of_nothing()

    def _warn_of_nothing(self) -> None:
        """Say so where a structure was nowhere predicted, although it is there."""
        missed = [
            one.name
            for one, suffix in zip(self._names, suffixes_of(self._names), strict=True)
            if any(row[f"reference_pixels{suffix}"] for row in self._rows)
            and not any(row[f"predicted_pixels{suffix}"] for row in self._rows)
        ]
        if missed:
            names = missed if len(self._names) > 1 else ["foreground"]
            what = f"no {names[0]}" if len(names) == 1 else f"none of {', '.join(names)}"
            logger.warning(
                f"{what} was predicted in any image: train longer (delineate train ... --resume --set "
                "max_epochs=N), or look at the threshold and the labels"
            )

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Raise what ended the evaluation, which ignite would else swallow.

        Raises:
            DelineateError: when no image could be scored; MONAI's metrics call that a ``ValueError``.
        """
        if isinstance(error, ValueError) and engine.state.iteration == 0:
            raise DelineateError(
                f"no image of {split_words(self.split)} could be scored; see the errors above, correct the files"
            ) from error
        raise error


def _masks(masks: torch.Tensor) -> Bytes:
    """Masks (S, H, W) of the evaluator, which may be of floats."""
    return np.asarray(masks.as_subclass(torch.Tensor).to("cpu", torch.uint8).numpy())


def _read_item(meta: Mapping[str, Any]) -> tuple[Item, Slicing, tuple[float, float] | None]:
    """What an image that was read says of its file, of how it was cut, and of the size of its pixels in mm."""
    slicing, spacing, number = (meta.get(name) for name in ("slicing", "spacing", "slice"))
    item = Item(
        image=(Path(meta["filename_or_obj"]),),
        slice=None if number is None else int(number),
        series=meta.get("series"),
    )
    rows_columns = json.loads(spacing) if spacing else None
    return item, Slicing.of(json.loads(slicing) if slicing else None), tuple(rows_columns) if rows_columns else None


def _table(name: str, found: Any, annotated: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A metric's values, (images, structures); NaN where nothing was annotated."""
    images, planes = annotated.shape
    if not isinstance(found, torch.Tensor) or found.ndim > 2 or found.numel() != annotated.size:
        seen = tuple(found.shape[1:]) if isinstance(found, torch.Tensor) else f"{len(found)} lists of"
        raise DelineateError(
            f"the metric {name} gives {seen} values an image, and there are {planes} structures; wrap it in "
            "delineate.pipelines.evaluation.PerStructure in evaluate.yaml"
        )
    return np.where(annotated, found.double().cpu().numpy().reshape(images, planes), np.nan)


def _summary(scores: Mapping[str, Any]) -> str:
    names = headline(scores)
    return ", ".join(f"{name} {value_text(scores[name])} {_in_brackets(scores[name])}" for name in names)


def _in_brackets(score: Mapping[str, Any]) -> str:
    return f"[{interval_text(score)}]" if score["ci95"] else f"({interval_text(score)})"
