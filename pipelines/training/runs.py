"""Runs: begun as a changed copy of a bundle, resumed as they were begun."""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ..bundling.bundles import change_bundle, copy_bundle, refuse_occupied, shipped_bundles
from ..core.errors import DelineateError, InputError
from ..core.files import hold, is_abandoned, let_go
from ..core.sums import SUMS, check_sums, write_sums
from ..core.yaml_files import read_yaml
from ..datasets.datalist import Datalist
from ..datasets.seen import SEEN, read_seen, write_seen
from ..datasets.unlabelled import hash_of

LOCK = "training.lock"
_DRAFT = ".delineate."


def hold_training(checkpoints: Path) -> None:
    """Let no other process train with the states in ``checkpoints`` while this one does.

    Raises:
        DelineateError: another process is training there.
    """
    if not hold(checkpoints / LOCK):
        raise DelineateError(
            f"{checkpoints.parent}: another process is training there; wait until it ends, or train in another folder"
        )


def settings_of_data(bundle: Path, data: Path) -> dict[str, Any]:
    """What a data set of slices asks of a bundle: to cut and show volumes alike."""
    from ..datasets.slices import bundle_settings

    channels = read_yaml(bundle / "configs" / "train.yaml").get("channels")
    return bundle_settings(data, channels)


def begin_run(
    source: Path, run: Path, values: Mapping[str, Any], overlays: list[Path], init_from: Path | None = None
) -> None:
    """Copy a bundle into ``run``, changed; what is refused or killed on the way leaves no ``run`` behind.

    Args:
        source: the bundle.
        run: a folder that is new or empty.
        values: as :func:`~.bundles.change_bundle` takes them.
        overlays: the same.
        init_from: weights that the training begins with: a run, a bundle, one by its name, or a file of weights.

    Raises:
        DelineateError: ``run`` is occupied, or something is refused.
    """
    refuse_occupied(run)
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    remove_drafts(run.parent)
    with _draft(run.parent) as draft:
        copy_bundle(source, draft)
        if values or overlays:
            change_bundle(draft, values, overlays)
        if init_from:
            _put_initial_weights(init_from, draft)
        try:
            _put_in_place(draft, run)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # another process was quicker
                refuse_occupied(run)
            raise


def refuse_unbegun(run: Path) -> None:
    """See that a run can be resumed.

    Raises:
        DelineateError: when ``run`` holds none.
    """
    if not (run / "configs" / "train.yaml").is_file():
        raise DelineateError(f"{run} holds no run to continue; leave out --resume to begin one")


def remove_drafts(folder: Path) -> None:
    """Remove the beginnings of runs that killed processes left in ``folder``; those of living ones stay."""
    for draft in folder.glob(f"{_DRAFT}*"):
        if (draft / LOCK).is_file() and is_abandoned(draft / LOCK):
            shutil.rmtree(draft, ignore_errors=True)


def discard_run(run: Path, keep_folder: bool) -> None:
    """Remove what a training that failed before its first epoch has left, so that it can be begun again.

    Args:
        run: a folder that this very process has begun.
        keep_folder: whether it was there, empty, before.
    """
    let_go(run / "checkpoints" / LOCK)
    for entry in run.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if not keep_folder:
        run.rmdir()


def check_resumable(run: Path, values: Mapping[str, Any], overlays: list[Path]) -> int | None:
    """Refuse to resume what was never begun, or with other settings than it was begun with.

    Returns:
        the number of epochs that ``values`` extend the run to; ``None`` where they leave it as it was begun.

    Raises:
        DelineateError: in both cases.
    """
    refuse_unbegun(run)
    configs = run / "configs"
    begun = read_yaml(configs / "train.yaml")
    epochs = values.get("max_epochs", begun["max_epochs"])
    with TemporaryDirectory() as draft:
        shutil.copytree(configs, Path(draft) / "configs")
        change_bundle(Path(draft), {**values, "max_epochs": begun["max_epochs"]}, overlays)
        changed = [
            f.name
            for f in sorted(configs.iterdir())
            if (Path(draft) / "configs" / f.name).read_bytes() != f.read_bytes()
        ]
    if (values or overlays) and changed:
        raise DelineateError(
            f"{run} was begun with other settings ({', '.join(changed)} would change); it is resumed as it was begun: "
            "leave out --network, --loss, --use-unlabelled and --set (but --set max_epochs=N, which extends it)"
        )
    return None if epochs == begun["max_epochs"] else epochs


def extend_run(run: Path, max_epochs: Any) -> None:
    """Give a run other epochs than it was begun with: from its last epoch on, one new cycle of the learning rate.

    Args:
        run: the run, which nobody else may train meanwhile.
        max_epochs: its epochs in all.

    Raises:
        DelineateError: it has so many already, or was begun by a version whose schedule cannot begin anew.
    """
    from .states import load_last

    begun = read_yaml(run / "configs" / "train.yaml")
    if "extended_from" not in begun:
        raise DelineateError(
            f"{run} was begun by an earlier version and cannot be extended; begin a new run with its weights: "
            f"--init-from {run}"
        )
    state = load_last(run / "checkpoints")
    done = 0 if state is None else int(state["epoch"])
    if not isinstance(max_epochs, int) or max_epochs <= done:
        raise DelineateError(f"{run} has {done} epochs; extend it to more: --set max_epochs={done + 10}")
    change_bundle(run, {"max_epochs": max_epochs, "extended_from": done})


def sessions_of(record: Path) -> list[dict[str, Any]]:
    """The sessions of a run's ``record.json``; none where it is missing.

    Raises:
        InputError: it is damaged.
    """
    if not record.is_file():
        return []
    try:
        sessions: list[dict[str, Any]] = json.loads(record.read_text(encoding="utf-8"))["sessions"]
        if not all(isinstance(session, dict) for session in sessions):
            raise TypeError("sessions")
    except (ValueError, KeyError, TypeError) as error:
        remedy = "restore it from a backup, or remove it: the run then goes on without what it says of earlier sessions"
        raise InputError(record, f"is no record of a run ({type(error).__name__})", remedy) from error
    return sessions


def refuse_other_data(record: Path, dataset_dir: str | Path, allowed: bool = False) -> None:
    """Refuse to go on with a run on other data than its last session had.

    Args:
        record: its ``record.json``.
        dataset_dir: the data set's folder.
        allowed: let it pass; the record has both hashes.

    Raises:
        DelineateError: images, masks or splits differ.
    """
    sessions = sessions_of(record)
    if allowed or not sessions or _is_same_data(sessions[-1], Datalist.read(dataset_dir)):
        return
    before, now = sessions[-1].get("items") or {}, count_items(dataset_dir)
    parts = dict.fromkeys([*before, *now]) if before else {}
    changes = [
        f"{part}: {before.get(part, 0)}, now {now.get(part, 0)}"
        for part in parts
        if before.get(part, 0) != now.get(part, 0)
    ]
    raise DelineateError(
        f"{dataset_dir} is not the data that the run was begun with ({'; '.join(changes) or 'other files or splits'}); "
        "go on with that data, begin a new run (--init-from takes this one's weights), or go on anyway, on "
        "record: --allow-other-data"
    )


def _is_same_data(session: Mapping[str, Any], datalist: Datalist) -> bool:
    """Whether a session had this data; images without masks count where it learned from them."""
    learned = session.get("unlabelled")
    images = hash_of(datalist.part("unlabelled")) if learned else None
    return session.get("data_hash") in (None, datalist.hash) and (not learned or learned.get("hash") == images)


def count_items(dataset_dir: str | Path) -> dict[str, int]:
    """Numbers of items of a data set, by split or fold."""
    places = (str(place) for place, _ in Datalist.read(dataset_dir).labelled())
    return dict(sorted(Counter(places).items()))


class _Loader(yaml.SafeLoader):
    """YAML 1.1, as which MONAI reads configurations, with numbers as people write them: 1e-3."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+|[-+]?\.\d+[eE][-+]?\d+"), list("-+.0123456789")
)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["max_epochs=20"]`` to ``{"max_epochs": 20}``; values are read as YAML, 1e-3 as a number.

    Raises:
        DelineateError: when one is not of the form NAME=VALUE.
    """
    values = {}
    for setting in settings:
        id_, equals, value = setting.partition("=")
        if not equals or not id_:
            raise DelineateError(f"--set got {setting!r}; write NAME=VALUE, e.g. --set max_epochs=20")
        try:
            values[id_] = yaml.load(value, _Loader)  # a SafeLoader
        except yaml.YAMLError as error:
            raise DelineateError(
                f"--set {id_}: {value!r} is no YAML value; quote it as you would in a YAML file"
            ) from error
    return values


@contextmanager
def _draft(parent: Path) -> Iterator[Path]:
    """A folder beside the run; its lock tells those of living processes from what killed ones left."""
    with TemporaryDirectory(prefix=_DRAFT, dir=parent) as folder:
        hold(Path(folder) / LOCK)
        try:
            yield Path(folder) / "run"
        finally:
            let_go(Path(folder) / LOCK)


def _put_in_place(draft: Path, run: Path) -> None:
    if not run.exists():
        draft.rename(run)
        return
    order = {"docs": 0, "configs": 2}  # docs/ first: who comes second fails there. configs/ last: with it, it is a run
    for entry in sorted(draft.iterdir(), key=lambda entry: order.get(entry.name, 1)):
        entry.replace(run / entry.name)


def seen_by(source: Path) -> frozenset[str]:
    """What the weights of a run, of a shipped bundle (by its name) or in a file have seen, as far as that is known."""
    return read_seen(_weights_path(source).parents[1] / SEEN)


def _weights_path(source: Path) -> Path:
    path = source if source.is_file() else source / "models" / "model.pt"
    shipped = shipped_bundles().get(str(source))
    return shipped / "models" / "model.pt" if shipped and not path.is_file() else path


def weights_file(source: Path) -> Path:
    """The weights of a run or a bundle (a shipped one by its name), or in a file, looked at before anything is loaded.

    Raises:
        DelineateError: there are none, their hash is wrong, or the file could hold more than tensors.
    """
    from ..bundling.verify.tensors import weights_problem

    path = _weights_path(source)
    if not path.is_file():
        raise DelineateError(f"{source} has no weights ({path} is missing); name a run, or a file of weights")
    wrong = check_sums(path.parent, [path.name]) if (path.parent / SUMS).is_file() else []
    if wrong or (wrong := [problem for problem in [weights_problem(path)] if problem]):
        raise DelineateError(f"{path}: {'; '.join(wrong)}")
    return path


def _put_initial_weights(source: Path, run: Path) -> None:
    """Copy weights to where a training that has no state yet looks for them."""
    from .states import INITIAL

    path = weights_file(source)
    (run / "checkpoints").mkdir()
    shutil.copyfile(path, run / "checkpoints" / INITIAL)
    write_sums(run / "checkpoints", [INITIAL])
    if seen := seen_by(path):
        write_seen(run / SEEN, seen)
