"""A run as a bundle for others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import nn

from ..bundling.bundles import copy_bundle
from ..bundling.card_text import CARD, put_card
from ..bundling.gate import Bundle, admit, fingerprint
from ..bundling.rebuilt import refuse_other_weights
from ..bundling.weights import load_network
from ..core.errors import DelineateError, printable
from ..core.files import put_in_place
from ..core.sums import sha256, write_sums
from ..datasets.seen import SEEN, marks_of, read_seen, write_seen
from ..training.runs import sessions_of
from .card import card_text, terms_text
from .facts import Facts, evaluation_facts, training_facts
from .half import halve
from .notes import read_notes

RECORD = Path("logs") / "record.json"
_NEEDED = ("model.pt", "familiarity.json")
"""Of ``models/``; exports are made again where they are needed."""


def publish_bundle(
    run: Bundle,
    out: str | Path,
    evaluations: Sequence[str | Path] = (),
    notes: str | Path | None = None,
    data: str | Path | None = None,
    trust: bool = False,
    half: bool = False,
) -> Path:
    """Put what others need of a run into a folder: configuration, weights, what they have seen, and a model card.

    States of the training, logs and pictures are left out. Where the folder is a bundle, its configuration stays, and
    its weights are replaced. A bundle that was published is published again from itself, e.g. with other notes.

    Args:
        run: a run with weights.
        out: the folder: new, empty, or a bundle that the weights fit.
        evaluations: folders of evaluations of these weights, and of cross-validations; what the card says of scores.
        notes: a YAML file with what only a person can say, see `read_notes`.
        data: the data set of the training; the folder that the run's record names where ``None``.
        trust: use the run although verification has findings.
        half: store kernels in float16, see `halve`. These are other weights: an evaluation of the run is none of
            theirs, so publish first, evaluate the result, and publish that with its evaluation.

    Returns:
        the folder.

    Raises:
        UnverifiedError: the run is no part of the package, and verification has findings.
        DelineateError: something is missing or does not belong together; nothing is changed then.
    """
    admission, out = admit(run, trust), Path(out)
    network = load_network(admission.folder)  # refuses weights that are missing, broken or of another network
    is_bundle = (out / "configs" / "inference.yaml").is_file()
    if out.exists() and not is_bundle and (not out.is_dir() or any(out.iterdir())):
        raise DelineateError(f"{printable(out)} is there already and no bundle; name a new folder, or a bundle")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".publish.", dir=out.parent) as temporary:
        draft = Path(temporary) / "bundle"
        copy_bundle(out if is_bundle else admission.folder, draft)
        refuse_other_weights(admission.folder, draft)
        _put_weights(admission.folder, draft)
        if half:
            halve(draft, network, _dataset_of(admission.folder, data))
        training = _training(admission.folder, draft, network, data)
        facts = _facts(admission.folder, draft, evaluations, notes, half) | {"training": training}
        (draft / CARD).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        put_card(draft, card_text(facts), terms_text(facts))
        admit(draft, trust)
        load_network(draft)
        put_in_place(draft, out, [*(one.name for one in draft.iterdir() if one.name != SEEN.parent.name), SEEN])
    return out


def _put_weights(run: Path, draft: Path) -> None:
    (draft / "models").mkdir()
    names = [name for name in _NEEDED if (run / "models" / name).is_file()]
    for name in names:
        shutil.copyfile(run / "models" / name, draft / "models" / name)
    write_sums(draft / "models", names)
    write_seen(draft / SEEN, read_seen(run / SEEN))


def _training(run: Path, draft: Path, network: nn.Module, data: str | Path | None) -> Facts:
    """How the weights were trained; of a bundle that was published before, what it says."""
    if (sessions := sessions_of(run / RECORD)) and (dataset := _dataset_of(run, data)):
        found = training_facts(sessions, network, dataset)
        write_seen(draft / SEEN, marks_of(dataset))
        return found
    if "training" in (before := _told(run)):
        return dict(before["training"])
    raise DelineateError(f"{printable(run)} has no {RECORD}; name a run that 'delineate train' made")


def _dataset_of(run: Path, data: str | Path | None) -> Path | None:
    """The data set of the training: the one that is given, or the one that the record names."""
    sessions = sessions_of(run / RECORD)
    folder = data or (sessions[-1]["dataset_dir"] if sessions else None)
    return Path(folder) if folder else None


def _facts(run: Path, draft: Path, evaluations: Sequence[str | Path], notes: str | Path | None, half: bool) -> Facts:
    """The other things that ``docs/model_card.json`` holds; what is not given stays as it was told."""
    before, hashes = _told(run), [fingerprint(draft), *([] if half else [fingerprint(run)])]
    return {
        "half": half or bool(before.get("half")),
        "weights": sha256(draft / "models" / "model.pt"),
        "evaluations": [evaluation_facts(Path(one), hashes) for one in evaluations] or before.get("evaluations", []),
        "notes": read_notes(Path(notes)) if notes else before.get("notes", {}),
    }


def _told(bundle: Path) -> Facts:
    return dict(json.loads((bundle / CARD).read_text(encoding="utf-8"))) if (bundle / CARD).is_file() else {}
