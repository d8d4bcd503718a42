"""Runs: begun as a changed copy of a bundle, resumed as they were begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from .bundles import change_bundle, copy_bundle, refuse_occupied
from .errors import DelineateError
from .files import hold

LOCK = "training.lock"


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
    from .data.slices import bundle_settings

    channels = yaml.safe_load((bundle / "configs" / "train.yaml").read_text(encoding="utf-8")).get("channels")
    return bundle_settings(data, channels)


def begin_run(source: Path, run: Path, values: dict[str, Any], overlays: list[Path]) -> None:
    """Copy a bundle into ``run``, changed; what is refused or killed on the way leaves no ``run`` behind."""
    refuse_occupied(run)
    run = run.resolve()
    run.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{run.name}.", dir=run.parent) as draft:
        copy_bundle(source, Path(draft))
        if values or overlays:
            change_bundle(Path(draft), values, overlays)
        run.mkdir(exist_ok=True)
        for entry in sorted(Path(draft).iterdir(), key=lambda entry: entry.name == "configs"):
            entry.replace(run / entry.name)  # configs/ last: with it, it is a run


def refuse_unbegun(run: Path) -> None:
    """Raise ``DelineateError`` when ``run`` holds no run that could be resumed."""
    if not (run / "configs" / "train.yaml").is_file():
        raise DelineateError(f"{run} holds no run to go on with; leave out --resume to begin one")


def check_resumable(run: Path, values: dict[str, Any], overlays: list[Path]) -> None:
    """Refuse to resume what was never begun, or with other settings than it was begun with.

    Raises:
        DelineateError: in both cases.
    """
    refuse_unbegun(run)
    configs = run / "configs"
    with TemporaryDirectory() as draft:
        shutil.copytree(configs, Path(draft) / "configs")
        change_bundle(Path(draft), values, overlays)
        changed = [
            f.name
            for f in sorted(configs.iterdir())
            if (Path(draft) / "configs" / f.name).read_bytes() != f.read_bytes()
        ]
    if (values or overlays) and changed:
        raise DelineateError(
            f"{run} was begun with other settings ({', '.join(changed)} would change); it is resumed as it was begun: "
            "leave out --network, --loss and --set"
        )


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """``["max_epochs=20"]`` to ``{"max_epochs": 20}``; values are read as YAML.

    Raises:
        DelineateError: when one is not of the form ID=VALUE.
    """
    values = {}
    for setting in settings:
        id_, equals, value = setting.partition("=")
        if not equals or not id_:
            raise DelineateError(f"--set got {setting!r}; write ID=VALUE, e.g. --set max_epochs=20")
        try:
            values[id_] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise DelineateError(
                f"--set {id_}: {value!r} is no YAML value; quote it as you would in a YAML file"
            ) from error
    return values
