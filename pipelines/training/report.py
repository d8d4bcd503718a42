"""What a training leaves for people to look at: validation images in TensorBoard, and the run's page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from numpy.typing import NDArray
from PIL import Image

from ..core.files import replacing
from ..core.ranks import rank
from ..evaluation.pictures import THUMBNAIL, draw_errors
from ..evaluation.report import write_report
from ..imaging.structures import structures_of
from .history import HistoryLogger
from .runs import sessions_of

Bytes = NDArray[np.uint8]


class RunReport:
    """Draws some images of each best validation, and writes ``report.html`` when the training ends.

    The images are the same in every epoch, spread over the validation's. TensorBoard gets them after each validation
    that is the best so far, and ``validation/case_1.png`` and so on are those of the weights in ``models/``.

    Args:
        bundle_root: folder of the run, for ``report.html``.
        output_dir: folder of ``history.csv`` and ``record.json``, for ``validation``.
        validator: evaluator whose images are drawn.
        history: whose TensorBoard gets the images.
        structures: those of the channels, as the bundle names them; one without a name where ``None``.
        cases: how many images are drawn.
    """

    def __init__(
        self,
        bundle_root: str | Path,
        output_dir: str | Path,
        validator: Engine,
        history: HistoryLogger | None = None,
        structures: Sequence[Mapping[str, Any]] | None = None,
        cases: int = 4,
    ) -> None:
        self.bundle_root, self.output_dir = Path(bundle_root), Path(output_dir)
        self.validator, self.cases = validator, cases
        self.writer = history.writer if history else None
        self.structures = structures_of(structures)
        self._outputs: list[Mapping[str, Any]] = []
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        """Attach to the trainer, behind the validation and what writes history and record; in the first process."""
        if rank() > 0:
            return
        self.validator.add_event_handler(Events.STARTED, self.validation_started)
        self.validator.add_event_handler(Events.ITERATION_COMPLETED, self.images_validated)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
        engine.add_event_handler(Events.COMPLETED, self.completed)

    def validation_started(self, _: Engine) -> None:
        """Forget the last validation."""
        self._outputs, self._seen = [], 0

    def images_validated(self, engine: Engine) -> None:
        """Keep those that are to be drawn."""
        chosen = chosen_cases(engine.state.epoch_length or 0, self.cases)
        for output in engine.state.output:
            if self._seen in chosen:
                self._outputs.append(output)
            self._seen += 1

    def epoch_completed(self, engine: Engine) -> None:
        """Draw them where this validation is the best so far."""
        if self.validator.state.best_metric_epoch != engine.state.epoch:
            return
        for number, output in enumerate(self._outputs, 1):
            picture = self._drawn(output)
            path = self.output_dir / "validation" / f"case_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                Image.fromarray(picture).save(temporary, "PNG")
            if self.writer is not None:
                self.writer.add_image(f"validation/case_{number}", picture, engine.state.epoch, dataformats="HWC")

    def _drawn(self, output: Mapping[str, Any]) -> Bytes:
        """Outlines and errors on the image as the network saw it, on the grid of its reference."""
        image, prediction, reference = (_plain(output[key]) for key in ("image", "pred", "label"))
        height, width = reference.shape[-2:]
        seen = image[:3] if len(image) == 3 else image[len(image) // 2][None]  # of several planes the middle one
        pixels = (255 * seen.clip(0, 1)).round().astype(np.uint8).transpose(1, 2, 0)
        grey = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        resized = np.asarray(Image.fromarray(grey).convert("RGB").resize((width, height)))
        masks = (prediction.astype(np.uint8), reference.astype(np.uint8))
        return draw_errors(resized, *masks, self.structures, THUMBNAIL)

    def completed(self, _: Engine) -> None:
        """Write the page."""
        session = sessions_of(self.output_dir / "record.json")[-1]
        pictures = sorted((self.output_dir / "validation").glob("case_*.png"))
        write_report(
            self.bundle_root / "report.html",
            title=f"Training of {self.bundle_root.resolve().name}",
            metrics={key: session[key] for key in ("versions", "data_hash", "commit") if session.get(key)},
            history_csv=self.output_dir / "history.csv",
            cases=[np.asarray(Image.open(path).convert("RGB")) for path in pictures],
            facts=_facts(session),
            commands=[shlex.join([Path(session["command"][0]).name, *session["command"][1:]])],
            structures=self.structures,
        )


def chosen_cases(images: int, cases: int) -> set[int]:
    """Which of the validation's images are drawn: the middles of equal parts of their list."""
    parts = min(cases, images)
    return {(2 * index + 1) * images // (2 * parts) for index in range(parts)}


def _plain(values: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(values.as_subclass(torch.Tensor).detach().float().cpu().numpy(), np.float32)


def _facts(session: Mapping[str, Any]) -> list[str]:
    """What the last session did, in sentences."""
    items, best = session["items"], session["best"]
    parts = ", ".join(f"{count} {name}" for name, count in items.items())
    facts = [
        f"Images: {parts}. {session['epochs']} epochs; the last session took {session['seconds'] / 60:.1f} minutes."
    ]
    if learned := session.get("unlabelled"):
        facts.append(f"{learned['used']} images without masks were learned from, too.")
    if best["epoch"] > 0:
        facts.append(
            f"The best validation Dice was {best['value']:.4f}, in epoch {best['epoch']}; these weights are kept."
        )
    return facts
