"""What the settings of a bundle may be: those that users know by name, and what each of them takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from ..core.devices import refuse_missing
from ..core.errors import DelineateError, UnknownNameError, WrongValueError, printable
from ..core.yaml_files import read_yaml
from ..imaging.objects import OBJECT_FORMATS, SEG_TYPES
from ..imaging.structures import Structure, structures_of, thresholds_of
from ..imaging.writers import FORMATS, VOLUME_FORMATS
from .exports import int8_export

WORKFLOWS = ("train", "evaluate", "inference")
BACKENDS = ("auto", "torch", "onnxruntime", "openvino", "onnxruntime-int8", "openvino-int8")
INT8_GRAPHS = {"onnxruntime-int8": "model.int8.onnx", "openvino-int8": "model.int8.xml"}
"""What may compute a network: `inference.backends`; ``auto`` is the fastest of them."""
_BY_BACKEND = "delineate.pipelines.inference.load_network"
_TAKES = ("bundle_root", "device", "precision", "in_channels", "window")
_STAGES = {"train": "training", "evaluate": "evaluation", "inference": "segmentation"}


class _Kind(NamedTuple):
    """What a setting takes: whether a value fits, and in words."""

    fits: Callable[[Any], bool]
    needs: str


def _whole(least: int, example: str = "") -> _Kind:
    return _Kind(
        lambda value: isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least,
        f"a whole number of {least} or more{example}",
    )


def _number(fits: Callable[[float], bool], needs: str) -> _Kind:
    return _Kind(
        lambda value: (
            isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and fits(float(value))
        ),
        needs,
    )


def _one_of(*names: str) -> _Kind:
    return _Kind(lambda value: value in names, f"{', '.join(names[:-1])} or {names[-1]}")


def _some_of(*names: str) -> _Kind:
    def fits(value: Any) -> bool:
        words = value.split(",") if isinstance(value, str) else value
        return isinstance(words, list | tuple) and bool(words) and all(word in names for word in words)

    return _Kind(fits, f"some of {', '.join(names)}, e.g. {','.join(names[-2:])}")


def _or_null(kind: _Kind) -> _Kind:
    return _Kind(lambda value: value is None or kind.fits(value), f"{kind.needs}, or null")


def _size(example: str) -> _Kind:
    side = _whole(1)
    return _Kind(
        lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(side.fits, value)),
        f"rows and columns, e.g. {example}",
    )


_NAMES = _Kind(
    lambda value: (
        isinstance(value, str) or (isinstance(value, list | tuple) and all(isinstance(v, str) for v in value))
    ),
    "names of columns, e.g. [class, size]",
)
_LIMITS = _Kind(
    lambda value: (
        isinstance(value, Mapping)
        and all(isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v) for v in value.values())
    ),
    "a number for each score, e.g. {mean_dice: 0.7}",
)
_SWITCH = _Kind(lambda value: isinstance(value, bool), "true or false")
_KINDS = {
    "channels": _one_of("rgb", "grey"),
    "in_channels": _whole(1),
    "out_channels": _whole(1),
    "image_size": _size("image_size=[256, 256]"),
    "window": _size("window=[256, 256]"),
    "exclusive": _SWITCH,
    "flip_left_right": _SWITCH,
    "upright": _SWITCH,
    "precision": _one_of("auto", "float32", "bfloat16"),
    "backend": _one_of(*BACKENDS),
    "tta": _or_null(_one_of("flips", "rotations")),
    "overlay": _SWITCH,
    "probability": _SWITCH,
    "label_map": _SWITCH,
    "volume_format": _one_of(*VOLUME_FORMATS),
    "formats": _or_null(_some_of(*FORMATS, *OBJECT_FORMATS)),
    "seg_type": _one_of(*SEG_TYPES),
    "fold": _or_null(_whole(0)),
    "subgroups": _or_null(_NAMES),
    "failures": _or_null(_LIMITS),
    "tolerance_mm": _number(lambda value: value > 0, "a length in mm above 0, e.g. 2"),
    "page": _SWITCH,
    "mlflow": _SWITCH,
    "allow_leaks": _SWITCH,
    "allow_other_data": _SWITCH,
    "unlabelled": _or_null(_Kind(lambda value: isinstance(value, Mapping), "what --use-unlabelled sets")),
    "resume": _SWITCH,
    "extended_from": _whole(0),
    "seed": _whole(0),
    "max_epochs": _whole(1, ", e.g. 20"),
    "epoch_length": _or_null(_whole(1)),
    "batch_size": _whole(1, ", e.g. 8"),
    "learning_rate": _number(lambda value: value > 0, "a number above 0, e.g. 0.001"),
    "pretrained": _or_null(_Kind(lambda value: isinstance(value, str), "imagenet, a run or a file of weights")),
    "encoder_rate": _number(lambda value: value > 0, "a number above 0, e.g. 0.33"),
    "ema": _number(lambda value: 0 <= value < 1, "a number of 0 or more, below 1, e.g. 0.99; 0 for no running mean"),
    "elastic": _number(lambda value: 0 <= value <= 1, "a probability, 0 to 1"),
    "val_interval": _whole(1),
    "patience": _whole(0),
    "save_interval": _whole(0),
    "cache_budget_gb": _or_null(_number(lambda value: value >= 0, "a number of 0 or more")),
}
_ONE_THRESHOLD = _number(lambda value: 0 <= value <= 1, "a probability, 0 to 1")
ADDED = ("tta",)  # settings that `update_bundle` gives to bundles of before
_ALWAYS_LITERAL = "image_size"  # stands in the metadata, too


def refuse_wrong_values(config: Mapping[str, Any]) -> None:
    """See that the settings of a workflow that users know by name are of their kind and range.

    References (``"@..."``) and expressions (``"$..."``) are left to MONAI.

    Raises:
        WrongValueError: one is not; the message says what it takes.
        DelineateError: ``device`` is none that this machine has.
    """
    for name, value in config.items():
        if isinstance(value, str) and value[:1] in ("@", "$") and name != _ALWAYS_LITERAL:
            continue
        if name == "device":
            refuse_missing(value)
        elif name == "threshold":
            _refuse_wrong_threshold(config.get("structures"), value)
        elif name in _KINDS and not _KINDS[name].fits(value):
            raise WrongValueError(f"{name} is {value!r}; set {_KINDS[name].needs}")


def _refuse_wrong_threshold(structures: Any, threshold: Any) -> None:
    """Bundles of before there were structures take one number."""
    if isinstance(structures, list):
        try:
            thresholds_of(structures_of(structures), threshold)
        except DelineateError as error:
            raise WrongValueError(str(error)) from error
    elif not _ONE_THRESHOLD.fits(threshold):
        raise WrongValueError(f"threshold is {threshold!r}; set {_ONE_THRESHOLD.needs}")


def structures_in(folder: Path) -> tuple[Structure, ...]:
    """The structures of a bundle; none where it has one that has no name."""
    structures = (workflow_config(folder, "inference") or {}).get("structures")
    return structures_of(structures) if isinstance(structures, list) else ()


def refuse_unknown(folder: Path, config: Mapping[str, Any], workflow: str, names: Iterable[str]) -> None:
    """See that a workflow has the settings that are to be changed: MONAI would add others, and nothing would use them.

    Args:
        folder: the bundle's.
        config: of the workflow.
        workflow: its name, one of ``WORKFLOWS``.
        names: of the settings.

    Raises:
        UnknownNameError: no workflow has one of them; the closest is named.
        WrongValueError: another workflow has it, which is named; or the bundle was made before there was such a one.
    """
    for name in names:
        if has(config, name):
            continue
        if others := [_STAGES[other] for other in WORKFLOWS if has(workflow_config(folder, other), name)]:
            raise WrongValueError(f"{name} is a setting of {others[0]}, not of {_STAGES[workflow]}; leave it out")
        if name in ADDED and has(config, "inferer::precision"):
            raise WrongValueError(
                f"{printable(folder)} was made before there was {name}; 'delineate bundle update FOLDER' adds it"
            )
        raise unknown_setting(name, [config])


def unknown_setting(name: str, configs: Iterable[Mapping[str, Any]]) -> UnknownNameError:
    """The refusal of a setting that none of the workflows has."""
    known = dict.fromkeys(id_ for config in configs for id_ in _ids(config))
    plain = ", ".join(id_ for id_ in known if id_ in _KINDS or id_ in ("device", "threshold"))
    there = f"there are, among others: {plain}; " if plain else ""
    return UnknownNameError("setting", name, known, instead=f"{there}all stand in the bundle's configs/*.yaml")


def backend_settings(
    root: Path, config: Mapping[str, Any], backend: str | None, settings: Iterable[str] = ()
) -> dict[str, Any]:
    """The settings of a workflow that choose a backend, with the thresholds that go with an int8 graph.

    Args:
        root: the bundle's folder.
        config: of the workflow; one of before there were backends has no setting of that name.
        backend: one of ``BACKENDS``; ``None``: the bundle's own.
        settings: names of those that are chosen otherwise.

    Raises:
        UnknownNameError: there is no such backend.
    """
    used = backend or config.get("backend")
    graph = int8_export(root / "models", INT8_GRAPHS[used]) if used in INT8_GRAPHS else None
    fitted = graph.get("threshold") if graph and "threshold" not in settings else None
    return _choosing(config, backend) | ({} if fitted is None else {"threshold": fitted})


def _choosing(config: Mapping[str, Any], backend: str | None) -> dict[str, Any]:
    if backend is None:
        return {}
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    if "backend" in config or backend == "torch":
        return {"backend": backend} if "backend" in config else {}
    references = {name: f"@{name}" for name in _TAKES}
    return {"network": {"_target_": _BY_BACKEND, "network": "@network_def", "backend": backend, **references}}


def has(config: Any, name: str) -> bool:
    """Whether a workflow has the MONAI id ``name``."""
    for key in name.split("::"):
        if isinstance(config, list) and key.isdigit() and int(key) < len(config):
            config = config[int(key)]
        elif isinstance(config, dict) and key in config:
            config = config[key]
        else:
            return False
    return True


def workflow_config(folder: Path, workflow: str) -> Any:
    """The configuration of a bundle's workflow, one of ``WORKFLOWS``, as it stands; empty where there is none."""
    path = folder / "configs" / f"{workflow}.yaml"
    return read_yaml(path) if path.is_file() else {}


def _ids(config: Any, prefix: str = "") -> list[str]:
    if not isinstance(config, dict):
        return []
    within = [(key, value) for key, value in config.items() if key != "_meta_"]
    return [id_ for key, value in within for id_ in (f"{prefix}{key}", *_ids(value, f"{prefix}{key}::"))]
