"""Scores that an evaluator leaves behind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray

from ..bundling.provenance import provenance
from ..core.errors import DelineateError, printable
from ..core.files import write_atomically
from ..imaging.structures import UNANNOTATED, Structure, structures_of
from ..inference.result_table import as_csv
from .intervals import interval_text, mean_with_interval, value_text
from .metrics import empty_policy

logger = logging.getLogger(__name__)


class ScoreWriter:
    """Writes ``metrics.json`` and ``per_image.csv`` from the metrics of an evaluator.

    Where there are several structures, both hold each of them and the mean over them. An image counts for the
    structures that are annotated in it; a value that is not finite counts for none, and is counted itself.

    Args:
        output_dir: folder of both files.
        dataset_dir: the data set's folder.
        split: the split that was scored.
        dataset: the streamed data set; what it refused is counted and named.
        structures: those of the channels, as the bundle names them; one without a name where ``None``.
    """

    def __init__(
        self,
        output_dir: str | Path,
        dataset_dir: str | Path,
        split: str,
        dataset: Any,
        structures: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.output_dir, self.dataset_dir, self.split, self.dataset = (
            Path(output_dir),
            dataset_dir,
            split,
            dataset,
        )
        self.structures = structures_of(structures)
        self._rows: list[dict[str, Any]] = []
        self._annotated: list[list[bool]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def started(self, _: Engine) -> None:
        """Start anew."""
        self._rows, self._annotated = [], []

    def iteration_completed(self, engine: Engine) -> None:
        """Note which images were scored.

        Raises:
            DelineateError: the masks are of other structures than the bundle names.
        """
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            row: dict[str, Any] = {"image": printable(item["image"].meta["filename_or_obj"])}
            row |= {field: item[field] for field in ("slice", "group", "class") if field in item}
            annotated = (output["label"].flatten(1)[:, 0] != UNANNOTATED).tolist()
            reference, predicted = (output[key].flatten(1).long().sum(1).tolist() for key in ("label", "pred"))
            known = [count if there else None for count, there in zip(reference, annotated, strict=True)]
            for name, counts in {"reference_pixels": known, "predicted_pixels": predicted}.items():
                row |= zip(self._columns(name, len(counts)), counts, strict=True)
            spacing = item["image"].meta.get("spacing")
            row["pixel_mm2"] = prod(json.loads(spacing)) if spacing else None
            self._rows.append(row)
            self._annotated.append(annotated)

    def _named(self, planes: int) -> Sequence[Structure]:
        """The structures of several planes."""
        if self.structures and planes != len(self.structures):
            raise DelineateError(
                f"the bundle names {len(self.structures)} structures, its masks are of {planes}; "
                "set structures and out_channels alike"
            )
        return self.structures or [Structure(str(index + 1)) for index in range(planes)]

    def _columns(self, name: str, planes: int) -> list[str]:
        return [name] if planes == 1 else [f"{name}_{one.file_name}" for one in self._named(planes)]

    def completed(self, engine: Engine) -> None:
        """Write both files.

        Raises:
            DelineateError: a metric does not give one value a structure.
        """
        annotated = np.array(self._annotated)
        tables = {name: _table(name, found, annotated) for name, found in engine.state.metric_details.items()}
        for name, table in tables.items():
            self._note(name, table)
        groups = [row.get("group", row["image"]) for row in self._rows]
        scores = {name: _score(table, annotated, groups) for name, table in tables.items()}
        structures = self._structures(tables, annotated, groups)
        report = {
            "split": self.split,
            "count": len(self._rows),
            "groups": len(set(groups)),
            "refused": [str(error) for error in self.dataset.refused],
            **scores,
            **({"structures": structures} if structures else {}),
            "grid": "each image's own",
            "empty_masks": empty_policy(scores),
            "interval": "95 % percentile bootstrap over groups, 10000 resamples",
            **provenance(self.dataset_dir),
        }
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(self.output_dir / "metrics.json", text.encode())
        write_atomically(self.output_dir / "per_image.csv", as_csv(self._rows, _names(self._rows)).encode())
        logger.info(f"{len(self._rows)} images of {self.split}: {_summary(scores)}")
        for name, found in structures.items():
            logger.info(f"{name}: {_summary({key: score for key, score in found.items() if key in scores})}")
        self._warn_of_nothing(annotated.shape[1])

    def _note(self, name: str, table: NDArray[np.float64]) -> None:
        """Put a metric's values into the rows: the mean over structures, then each; nothing where there is none."""
        columns = self._columns(name, table.shape[1])
        for row, values in zip(self._rows, table, strict=True):
            known = values[np.isfinite(values)]
            row[name] = float(known.mean()) if len(known) else None
            if len(columns) > 1:
                row |= {c: float(v) if np.isfinite(v) else None for c, v in zip(columns, values, strict=True)}

    def _structures(
        self, tables: Mapping[str, NDArray[np.float64]], annotated: NDArray[np.bool_], groups: Sequence[str]
    ) -> dict[str, dict[str, Any]]:
        """The scores of each structure, where there are several."""
        if annotated.shape[1] == 1:
            return {}
        return {
            one.name: {"count": int(annotated[:, s].sum())}
            | {name: _score(table[:, [s]], annotated[:, [s]], groups) for name, table in tables.items()}
            for s, one in enumerate(self._named(annotated.shape[1]))
        }

    def _warn_of_nothing(self, planes: int) -> None:
        """Say so where a structure was nowhere predicted, although it is there."""
        there, drawn = (self._columns(f"{kind}_pixels", planes) for kind in ("reference", "predicted"))
        missed = [
            index
            for index, (reference, predicted) in enumerate(zip(there, drawn, strict=True))
            if any(row[reference] for row in self._rows) and not any(row[predicted] for row in self._rows)
        ]
        if missed:
            names = [self._named(planes)[index].name for index in missed] if planes > 1 else ["foreground"]
            what = f"no {names[0]}" if len(names) == 1 else f"none of {', '.join(names)}"
            logger.warning(
                f"{what} was predicted in any image: train longer (delineate train ... --resume --set "
                "max_epochs=N), or look at the labels and the threshold"
            )

    def failed(self, engine: Engine, error: BaseException) -> None:
        """Raise what ended the evaluation, which ignite would else swallow.

        Raises:
            DelineateError: when no image could be scored; MONAI's metrics call that a ``ValueError``.
        """
        if isinstance(error, ValueError) and engine.state.iteration == 0:
            raise DelineateError(
                f"no image of the split {self.split!r} could be scored; see the errors above, correct the files"
            ) from error
        raise error


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


def _score(table: NDArray[np.float64], annotated: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, Any]:
    """Mean and interval of what is defined; how many values of annotated structures are not, where that is so."""
    undefined = int((annotated & ~np.isfinite(table)).sum())
    return mean_with_interval(table, groups) | ({"undefined": undefined} if undefined else {})


def _summary(scores: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {value_text(score)} [{interval_text(score)}]" for name, score in scores.items())


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
