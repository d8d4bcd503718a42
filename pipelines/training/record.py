"""The record of a run."""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ..bundling.provenance import provenance
from ..core.files import remove_leftovers, write_atomically
from ..core.ranks import process_count, rank
from ..datasets.datalist import Datalist
from ..datasets.seen import SEEN, marks_among, marks_of, write_seen
from ..datasets.unlabelled import hash_of
from ..imaging.item import Item
from .mean_teacher import MeanTeacher
from .runs import count_items, refuse_other_data, seen_by, sessions_of


class RunRecord:
    """Writes ``record.json`` (what was trained, on what, with what), which images were seen, and a log file.

    Args:
        output_dir: folder of ``record.json`` and ``train.log``.
        dataset_dir: the data set's folder.
        validator: evaluator with the best metric.
        settings: seed and the like, kept as they are.
        unlabelled: what learns from images without masks.
    """

    def __init__(
        self,
        output_dir: str | Path,
        dataset_dir: str | Path,
        validator: Engine,
        settings: dict[str, Any],
        unlabelled: MeanTeacher | None = None,
    ) -> None:
        self.output_dir, self.dataset_dir, self.validator = Path(output_dir), Path(dataset_dir), validator
        self.settings = settings
        self.unlabelled = [Item.from_fields(fields) for fields in unlabelled.items] if unlabelled else []
        self._session: dict[str, Any] = {}
        self._log: logging.FileHandler | None = None
        self._start = 0.0

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, before the other handlers; in the first process alone."""
        if rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.write)
        for last in (Events.COMPLETED, Events.TERMINATE):
            engine.add_event_handler(last, self.completed)

    def started(self, engine: Engine) -> None:
        """Note what is about to happen.

        Raises:
            DelineateError: when a run is resumed on other data, or its record is damaged.
        """
        record = self.output_dir / "record.json"
        if self.settings.get("resume"):
            refuse_other_data(record, self.dataset_dir, bool(self.settings.get("allow_other_data")))
        self.output_dir.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.output_dir)
        self._log = logging.FileHandler(self.output_dir / "train.log", encoding="utf-8")
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.getLogger("delineate").addHandler(self._log)
        self._start = time.perf_counter()
        self._earlier = sessions_of(record) if self.settings.get("resume") else []
        self._session = {
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "command": sys.argv,
            "dataset_dir": str(self.dataset_dir),
            "settings": self.settings,
            "items": count_items(self.dataset_dir),
            "device": str(engine.state.device),
            "threads": torch.get_num_threads(),
            "processes": process_count(),
            **provenance(self.dataset_dir),
        }
        if self.unlabelled:
            whole = Datalist.read(self.dataset_dir).part("unlabelled")
            left_out = len(whole) - len(self.unlabelled)
            self._session["unlabelled"] = {"used": len(self.unlabelled), "left_out": left_out, "hash": hash_of(whole)}
        before = seen_by(Path(str(self.settings.get("pretrained"))))
        unlabelled = marks_among(Datalist.read(self.dataset_dir).part("unlabelled"), self.unlabelled)
        write_seen(self.output_dir / SEEN.name, before.union(marks_of(self.dataset_dir), unlabelled))
        self.write(engine)

    def write(self, engine: Engine) -> None:
        """Bring the record up to date."""
        best = self.validator.state
        self._session |= {
            "epochs": engine.state.epoch,
            "seconds": round(time.perf_counter() - self._start, 1),
            "best": {
                "epoch": best.best_metric_epoch,
                "metric": best.key_metric_name,
                "value": float(best.best_metric),
            },
        }
        if precisions := getattr(getattr(engine, "inferer", None), "learned_in", None):
            self._session["precision"] = ", ".join(precisions)
        if initial := getattr(engine.state, "initial_weights", None):
            self._session["initial_weights"] = initial
        record = {"sessions": [*self._earlier, self._session]}
        write_atomically(self.output_dir / "record.json", (json.dumps(record, indent=2) + "\n").encode())

    def completed(self, engine: Engine) -> None:
        """Close the record and the log."""
        self._session["completed"] = True
        self.write(engine)
        if self._log:
            logging.getLogger("delineate").removeHandler(self._log)
            self._log.close()
            self._log = None
