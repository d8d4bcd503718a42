"""Scores that an evaluator leaves behind."""

from __future__ import annotations

import json
import logging
from math import prod
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..bundling.provenance import provenance
from ..core.errors import DelineateError, printable
from ..core.files import write_atomically
from ..inference.result_table import as_csv
from .metrics import interval_text, mean_with_interval

logger = logging.getLogger(__name__)
EMPTY_POLICY = "an empty prediction of an empty reference scores 1, any other prediction of it 0; no image is left out"


class ScoreWriter:
    """Writes ``metrics.json`` and ``per_image.csv`` from the metrics of an evaluator.

    Args:
        output_dir: folder of both files.
        dataset_dir: the data set's folder.
        split: the split that was scored.
        dataset: the streamed data set; what it refused is counted and named.
    """

    def __init__(self, output_dir: str | Path, dataset_dir: str | Path, split: str, dataset: Any) -> None:
        self.output_dir, self.dataset_dir, self.split, self.dataset = (
            Path(output_dir),
            dataset_dir,
            split,
            dataset,
        )
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.failed)

    def started(self, _: Engine) -> None:
        """Start anew."""
        self._rows = []

    def iteration_completed(self, engine: Engine) -> None:
        """Note which images were scored."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            row: dict[str, Any] = {"image": printable(item["image"].meta["filename_or_obj"])}
            row |= {field: item[field] for field in ("slice", "group", "class") if field in item}
            row |= {
                "reference_pixels": int(output["label"].sum()),
                "predicted_pixels": int(output["pred"].sum()),
                "pixel_mm2": prod(json.loads(item["image"].meta.get("spacing", "[NaN]"))),
            }
            self._rows.append(row)

    def completed(self, engine: Engine) -> None:
        """Write both files."""
        for name, details in engine.state.metric_details.items():
            for row, value in zip(self._rows, details.flatten().tolist(), strict=True):
                row[name] = value
        groups = [row.get("group", row["image"]) for row in self._rows]
        scores = {
            name: mean_with_interval([row[name] for row in self._rows], groups) for name in engine.state.metric_details
        }
        report = {
            "split": self.split,
            "count": len(self._rows),
            "groups": len(set(groups)),
            "refused": [str(error) for error in self.dataset.refused],
            **scores,
            "grid": "each image's own",
            "empty_masks": EMPTY_POLICY,
            "interval": "95 % percentile bootstrap over groups, 10000 resamples",
            **provenance(self.dataset_dir),
        }
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(self.output_dir / "metrics.json", (json.dumps(report, indent=2) + "\n").encode())
        write_atomically(self.output_dir / "per_image.csv", as_csv(self._rows, _names(self._rows)).encode())
        shown = ", ".join(f"{n} {s['value']:.4f} [{interval_text(s)}]" for n, s in scores.items())
        logger.info(f"{len(self._rows)} images of {self.split}: {shown}")
        if not any(row["predicted_pixels"] for row in self._rows) and any(
            row["reference_pixels"] for row in self._rows
        ):
            logger.warning(
                "no foreground was predicted in any image: train longer (delineate train ... --resume --set "
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


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
