"""Bundles: found by name or folder, put together from ``delineate.configs``, changed without losing their comments."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from importlib.resources import as_file, files
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.tokens import CommentToken

from ...installation import has_torch
from ..core.errors import DelineateError, UnknownNameError, printable
from ..core.files import write_atomically
from ..core.yaml_files import read_yaml
from ..imaging.structures import channels_of, structures_of
from .card_text import CARD, drop_card
from .settings import WORKFLOWS, has, refuse_wrong_values, unknown_setting
from .verify.targets import target_problem

_OWN_FOLDERS = ("configs", "models", "checkpoints", "logs", "docs")
_HEADING = re.compile(r"(?P<part># --- the \w+:).*")
MULTI_GPU = "multi_gpu_train.yaml"
_LONGEST = 280  # characters of a value that is written on one line
SCHEMA = "meta_schema_20240725.json"  # in docs/, so that `monai.bundle verify_metadata` works without a network


def _configs() -> Path:
    with as_file(files("delineate.configs")) as folder:
        return Path(folder)


NO_BUNDLES = (
    "this runtime brings no bundles; export one on a full installation, and copy the folder here: "
    "delineate export skin_lesion --format onnx --out FOLDER"
)


def shipped_bundles() -> dict[str, Path]:
    """Bundles that come with Delineate: name to folder."""
    with as_file(files("delineate.bundles")) as folder:
        return {p.name: p for p in sorted(Path(folder).iterdir()) if (p / "configs").is_dir()}


def has_weights(bundle: Path) -> bool:
    """Whether a bundle can segment at once."""
    return (bundle / "models" / "model.pt").is_file()


def choices(kind: str) -> list[str]:
    """Names of the ``"tasks"``, ``"networks"`` or ``"losses"`` that a bundle can be made of."""
    return sorted(p.stem for p in (_configs() / kind).iterdir() if not p.name.startswith((".", "_")))


def find_bundle(bundle: str | Path) -> Path:
    """The folder of a bundle or run, given the folder or the name of a shipped bundle.

    Raises:
        UnknownNameError: when it is neither.
        DelineateError: when the folder holds no bundle.
    """
    folder = Path(bundle)
    if (folder / "configs" / "inference.yaml").is_file():
        return folder
    shipped = shipped_bundles()
    if str(bundle) in shipped:
        return shipped[str(bundle)]
    if folder.is_dir():
        raise DelineateError(
            f"{folder} is no bundle: it has no configs/inference.yaml; name a bundle's or run's folder"
        )
    if not shipped and not has_torch():
        raise DelineateError(f"no folder is called {str(bundle)!r}; {NO_BUNDLES}")
    raise UnknownNameError("folder, and no shipped bundle,", str(bundle), shipped)


def part_file(kind: str, name: str) -> Path:
    """The file (or folder, for tasks) of one part in ``delineate.configs``.

    Raises:
        UnknownNameError: when there is no such part.
    """
    known = choices(kind)
    if name not in known:
        raise UnknownNameError({"losses": "loss"}.get(kind, kind[:-1]), name, known)
    return _configs() / kind / (name if kind == "tasks" else f"{name}.yaml")


def new_bundle(
    out: str | Path,
    task: str | Path,
    network: str = "efficient_lite_unet",
    loss: str = "dice_bce",
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Put a self-contained bundle together.

    Args:
        out: folder to make; must be new or empty.
        task: one of ``choices("tasks")``, or a folder of the same files, as `write_own_task` makes it.
        network: one of ``choices("networks")``.
        loss: one of ``choices("losses")``.
        name: the bundle's name in its documents; the folder's name where ``None``.
        settings: of the bundle, with their values, as for `change_bundle`.

    Returns:
        the folder.

    Raises:
        DelineateError: when the folder holds something, the settings are refused, or the loss is for other structures;
            nothing is made then.
        UnknownNameError: when a part or a setting is unknown; nothing is made then.
    """
    out = Path(out)
    refuse_occupied(out)
    task_folder = task if isinstance(task, Path) else part_file("tasks", task)
    with TemporaryDirectory() as temporary:
        draft = Path(temporary) / "bundle"
        _put_together(draft, task_folder, part_file("networks", network), part_file("losses", loss), name or out.name)
        if settings:
            change_bundle(draft, settings)
        _refuse_unfit(draft, loss)
        shutil.copytree(draft, out, dirs_exist_ok=True)
    return out


def _refuse_unfit(bundle: Path, loss: str) -> None:
    """See that a loss is for such structures: one over channels for exclusive ones, and no other has a background."""
    exclusive = bool(read_yaml(bundle / "configs" / "train.yaml").get("exclusive"))
    if (loss, exclusive) in (("ce", False), ("bce", True)):
        what = "are exclusive" if exclusive else "may overlap"
        raise DelineateError(
            f"the loss {loss} is not for structures that {what}; take dice_bce, dice, or {'ce' if exclusive else 'bce'}"
        )


def _put_together(out: Path, task: Path, network: Path, loss: Path, name: str) -> None:
    workflows = _configs() / "workflows"
    parts = [task / "parameters.yaml", network, workflows / "common.yaml"]
    (out / "configs").mkdir(parents=True)
    (out / "docs").mkdir()
    for workflow in WORKFLOWS:
        chosen = [*parts, loss, task / "training.yaml"] if workflow == "train" else parts
        texts = [p.read_text(encoding="utf-8") for p in [*chosen, workflows / f"{workflow}.yaml"]]
        (out / "configs" / f"{workflow}.yaml").write_text("\n".join(texts), encoding="utf-8")
    metadata = _metadata(workflows / "metadata.json", task / "metadata.json")
    readme = (workflows / "README.md").read_text(encoding="utf-8")
    why = metadata.get("without_weights")
    told = {**metadata, "without_weights": f" Delineate ships it without weights: {why}." if why else ""}
    (out / "docs" / "README.md").write_text(readme.format(id=name, **told), encoding="utf-8")
    (out / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=4) + "\n", encoding="utf-8")
    for name in (MULTI_GPU, "logging.conf"):
        shutil.copyfile(workflows / name, out / "configs" / name)
    shutil.copyfile(workflows / "LICENSE", out / "LICENSE")
    shutil.copyfile(task / "data_license.txt", out / "docs" / "data_license.txt")
    shutil.copyfile(_configs() / SCHEMA, out / "docs" / SCHEMA)
    sync_metadata(out)


def refuse_occupied(folder: Path) -> None:
    """See that a new folder can be made.

    Raises:
        DelineateError: when ``folder`` is there and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DelineateError(f"{folder} is there already and not empty; name a new folder or remove it first")


def refuse_own_folder(bundle: Path, out: str | Path) -> None:
    """See that results are not written into a bundle or run itself, among the files that it is made of.

    Raises:
        DelineateError: ``out`` is its folder, or one of the folders that make it.
    """
    place, own = Path(out).resolve(), bundle.resolve()
    if place in (own, *(own / name for name in _OWN_FOLDERS)):
        raise DelineateError(
            f"{printable(out)} is of the run {printable(bundle)} itself, whose page would be replaced, or a folder "
            f"that holds nothing else; write into a folder of its own, e.g. {printable(bundle / 'evaluation')}"
        )


def copy_bundle(bundle: Path, run: Path) -> None:
    """Copy a bundle's configuration and documents, not its weights, their model card or logs, into a new run."""
    refuse_occupied(run)
    run.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle / "LICENSE", run / "LICENSE")
    for folder in ("configs", "docs"):
        shutil.copytree(bundle / folder, run / folder, ignore=shutil.ignore_patterns("__pycache__", CARD.name))
    drop_card(run)


def copy_with_weights(bundle: Path, out: Path) -> None:
    """Copy all of a bundle or run that another machine needs to segment with it, and none of its training."""
    refuse_occupied(out)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bundle / "LICENSE", out / "LICENSE")
    for folder in ("configs", "docs", "models"):
        shutil.copytree(bundle / folder, out / folder, ignore=shutil.ignore_patterns("__pycache__"))


def change_bundle(bundle: Path, values: Mapping[str, Any], overlays: list[Path] | None = None) -> None:
    """Change settings in every workflow of a bundle that has them; comments stay.

    Args:
        bundle: the folder.
        values: MONAI ids (``max_epochs``, ``train::trainer::max_epochs``) to values.
        overlays: YAML files whose top-level ids replace the bundle's, e.g. ``part_file("networks", "unet")``.

    Raises:
        UnknownNameError: when no workflow has a setting; nothing is changed then.
        DelineateError: when a value is not of its setting's kind and range, or a ``_target_`` is not one that a bundle
            may name; nothing is changed then.
    """
    changes: dict[str, Any] = {}
    for overlay in overlays or []:
        changes |= _load(overlay)
    changes |= values
    _refuse_targets(changes)
    configs = {path: _load(path) for path in (bundle / "configs" / f"{w}.yaml" for w in WORKFLOWS)}
    for id_, value in changes.items():
        if not [_set(config, id_.split("::"), value) for config in configs.values() if has(config, id_)]:
            raise unknown_setting(id_, configs.values())
    for config in configs.values():
        if overlays and has(config, "loss"):
            config.setdefault("exclusive", False)  # losses refer to it; bundles of before structures had names lack it
        refuse_wrong_values({"image_size": None, **config})
    for path, config in configs.items():
        text = StringIO()
        _yaml().dump(config, text)
        write_atomically(path, _with_headings(text.getvalue(), overlays or []).encode())
    sync_metadata(bundle)


def change_workflow(bundle: Path, workflow: str, change: Callable[[Any], None]) -> None:
    """Change one workflow of a bundle, one of ``WORKFLOWS``, in place; comments stay.

    Args:
        bundle: the folder.
        workflow: its name.
        change: called with its mapping.
    """
    path = bundle / "configs" / f"{workflow}.yaml"
    config, text = _load(path), StringIO()
    change(config)
    _yaml().dump(config, text)
    write_atomically(path, text.getvalue().encode())


def members_of(bundle: Path) -> list[dict[str, str]]:
    """Names and hashes of the members of an ensemble, as its metadata tell; none where it is none."""
    try:
        told = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))["members"]
        return [{key: printable(each[key]) for key in ("name", "hash")} for each in told]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def try_changes(bundle: Path, values: Mapping[str, Any], overlays: list[Path]) -> None:
    """Change a copy and put it away again: what is unknown or unfit is refused before hours of work.

    Raises:
        DelineateError: as `change_bundle`.
    """
    with TemporaryDirectory() as draft:
        copy_bundle(bundle, Path(draft) / "bundle")
        change_bundle(Path(draft) / "bundle", values, overlays)


def sync_metadata(bundle: Path) -> None:
    """Write the true channels, structures and shapes of the network into ``metadata.json``."""
    config = read_yaml(bundle / "configs" / "inference.yaml")
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for tensors, channels in (("inputs", "in_channels"), ("outputs", "out_channels")):
        for tensor in metadata["network_data_format"][tensors].values():
            tensor["num_channels"] = config[channels]
            tensor["spatial_shape"] = list(config["image_size"])
    if structures := structures_of(config.get("structures")):
        metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = channels_of(structures, config["exclusive"])
    write_atomically(path, (json.dumps(metadata, indent=4) + "\n").encode())


def _refuse_targets(changes: Mapping[str, Any]) -> None:
    for id_, value in changes.items():
        if id_.rpartition("::")[2] == "_target_" and (problem := target_problem(value)):
            raise DelineateError(
                f"{id_}: {problem}; a bundle names no code of one's own: 'delineate bundle verify' would refuse it"
            )


def _metadata(base: Path, task: Path) -> dict[str, Any]:
    metadata = json.loads(base.read_text(encoding="utf-8")) | json.loads(task.read_text(encoding="utf-8"))
    image, label, modality = (metadata.pop(key) for key in ("image", "label", "modality"))
    tensor = {"num_channels": 1, "spatial_shape": [], "dtype": "float32", "is_patch_data": False}
    metadata["network_data_format"] = {
        "inputs": {"image": {"type": "image", "modality": modality, **tensor, "value_range": [0, 1], **image}},
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                **tensor,
                "value_range": [],
                "channel_def": label,
            }
        },
    }
    return dict(metadata)


def _load(path: Path) -> Any:
    """What a workflow says, with its comments; folds, networks and members of an ensemble begin with the same text."""
    return deepcopy(_parsed(path.read_text(encoding="utf-8")))


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    return _yaml().load(text)


def _yaml() -> YAML:
    commented = YAML()
    commented.width, commented.preserve_quotes = 4096, True
    commented.indent(mapping=2, sequence=4, offset=2)
    representer = commented.representer
    representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    representer.add_representer(float, _represent_float)
    return commented


def _set(config: Any, keys: list[str], value: Any) -> bool:
    for key in keys[:-1]:
        config = config[int(key) if isinstance(config, list) else key]
    if isinstance(config, CommentedMap):
        _keep_comment_behind(config, keys[-1])
    config[int(keys[-1]) if isinstance(config, list) else keys[-1]] = _on_one_line(value)
    return True


def _with_headings(text: str, overlays: Iterable[Path]) -> str:
    """The text of a workflow under its overlays' headings, as "# --- the network: U-Net, 31,037,633 parameters ---"."""
    for overlay in overlays:
        if found := _HEADING.match(overlay.read_text(encoding="utf-8")):
            lines = text.split("\n")
            text = "\n".join(found[0] if line.startswith(found["part"]) else line for line in lines)
    return text


def _keep_comment_behind(config: CommentedMap, key: str) -> None:
    """Move what stands behind a mapping or list to the key that follows; it would go with what is replaced."""
    part: Any = config[key]
    behind = ""
    while isinstance(part, CommentedMap | CommentedSeq) and part:
        last: Any = len(part) - 1 if isinstance(part, CommentedSeq) else list(part)[-1]
        tokens = part.ca.items.get(last) or ()
        behind = next((token.value for token in tokens if isinstance(token, CommentToken)), "")
        part = part[last]
    lines = [line.strip().removeprefix("#").strip() for line in behind.splitlines()[1:]]
    following = list(config)[list(config).index(key) + 1 :]
    if any(lines) and following:
        config.yaml_set_comment_before_after_key(following[0], before="\n".join(lines), indent=config.lc.col)


def _on_one_line(value: Any) -> Any:
    """Lists and mappings as ``[64, 64]``, but those that would be far longer than a line."""
    if not isinstance(value, list | tuple | dict) or not value:
        return value
    whole: CommentedSeq | CommentedMap
    if isinstance(value, list | tuple):
        whole = CommentedSeq(map(_on_one_line, value))
    else:
        whole = CommentedMap((key, _on_one_line(part)) for key, part in value.items())
    if len(str(value)) < _LONGEST:
        whole.fa.set_flow_style()
    return whole


def _represent_float(to: Any, value: float) -> Any:
    """A float that YAML 1.1, as which MONAI reads it, takes for one: 1.0e-05, not 1e-05."""
    text = repr(value)
    if "e" in text and "." not in text:
        return to.represent_scalar("tag:yaml.org,2002:float", text.replace("e", ".0e"))
    return to.represent_float(value)
