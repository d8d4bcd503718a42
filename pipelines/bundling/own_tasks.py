"""A task of one's own, in the form of a folder of ``delineate.configs.tasks``."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DelineateError
from ..imaging.structures import channels_of, structures_of

_STRUCTURE = re.compile(r"[^\W\d_][\w -]{0,39}")
_SIDED = re.compile(r"\b(left|right)\b", re.I)
_PARAMETERS = """\
# --- the task: {task} ------------------------------------------------------------------------------------------
channels: {channels:<15}# images are read as rgb (3 channels) or grey (1 channel)
in_channels: {in_channels}
structures:              # what is outlined, in the order of the network's channels
{structures}
exclusive: {exclusive:<14}# true: no pixel is of two structures; softmax with the background as first channel
out_channels: {out_channels:<11}# one logit per pixel and structure; where they are exclusive, one more
slicing: {{axis: null, window: auto, neighbours: 0}}  # images, not volumes; "axis: axial" would cut CT or MR
image_size: [256, 256]   # rows, columns: the grid that images are resized to, for training and inference alike
window: "@image_size"    # of the sliding window; make it smaller than image_size to slide
flip_left_right: {flip:<8}# training shows images mirrored, too; false where structures have a side
upright: false           # true: images are always upright, so training does not turn them
"""
_TRAINING = """\
# --- how long the task is trained -----------------------------------------------------------------------------------
max_epochs: 30           # one cycle of the learning rate; fewer images need more
"""
_DATA_LICENSE = """\
This bundle carries no images.

Name here the data that your weights were trained on, and its terms, before you pass them on.
"""


def write_own_task(
    folder: Path,
    structures: str,
    channels: Literal["rgb", "grey"],
    name: str | None = None,
    description: str | None = None,
    modality: str | None = None,
    exclusive: bool = False,
) -> Path:
    """Write the files of a task; structures that are called left or right are not mirrored in training.

    Args:
        folder: to make.
        structures: what is outlined, e.g. ``"wound"``; several with commas between.
        channels: what the network takes.
        name: of the task, for people to read; the structures' where ``None``.
        description: one sentence; made of the structures where ``None``.
        modality: how the images are made, e.g. ``"dermoscopy"``; said to be unknown where ``None``.
        exclusive: whether no pixel is of two structures.

    Returns:
        ``folder``.

    Raises:
        DelineateError: there is no structure, one is no name or there twice, or a text has line breaks or other control
            characters.
    """
    names = _names(structures)
    for option, text in (("--name", name), ("--description", description), ("--modality", modality)):
        if text is not None and (not text.strip() or not text.isprintable()):
            raise DelineateError(f"{option} is {text!r}; write one line of text")
    folder.mkdir(parents=True)
    parameters = _PARAMETERS.format(
        task=_listed(names),
        structures="\n".join(f"  - {{name: {name}}}" for name in names),
        exclusive=str(exclusive).lower(),
        flip=str(not any(map(_SIDED.search, names))).lower(),
        out_channels=len(names) + exclusive,
        channels=channels,
        in_channels=3 if channels == "rgb" else 1,
    )
    metadata = _metadata(names, exclusive, channels, name or _listed(names), description, modality)
    (folder / "parameters.yaml").write_text(parameters, encoding="utf-8")
    (folder / "training.yaml").write_text(_TRAINING, encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (folder / "data_license.txt").write_text(_DATA_LICENSE, encoding="utf-8")
    return folder


def _names(structures: str) -> list[str]:
    names = [name.strip() for name in structures.split(",") if name.strip()]
    if not names or not all(map(_STRUCTURE.fullmatch, names)):
        raise DelineateError(
            f"--structures is {structures!r}; name what is outlined in letters, digits, spaces and dashes, e.g. wound; "
            "several with commas between"
        )
    return [one.name for one in structures_of([{"name": name} for name in names])]


def _listed(names: Sequence[str]) -> str:
    """``heart``; ``heart and lung``; ``heart, lung and liver``."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _metadata(
    names: Sequence[str], exclusive: bool, channels: str, name: str, description: str | None, modality: str | None
) -> dict[str, Any]:
    rgb, what = channels == "rgb", _listed(names)
    kind = f"{'RGB' if rgb else 'grey'} image" + (f" ({modality})" if modality else "")
    classes = f"single channel, 1 is {what}, 0 is everything else" if len(names) == 1 else f"a channel each: {what}"
    return {
        "name": name,
        "task": f"Segmentation of the {what} in 2D images",
        "description": description or f"A network, trained with MONAI, that outlines the {what} in a 2D image.",
        "authors": "not stated; write who made the bundle",
        "copyright": "of the configuration: The Delineate developers, Apache License 2.0",
        "data_source": "your own data set",
        "data_type": "JPEG, PNG, TIFF, BMP or DICOM, shown with 8 bits a channel",
        "image_classes": f"{kind}, values 0-255",
        "label_classes": classes,
        "pred_classes": classes,
        "intended_use": "Research only; not a medical device, not validated for clinical use",
        "references": [],
        "modality": modality or "not stated",
        "image": {
            "format": "RGB" if rgb else "magnitude",
            "channel_def": {"0": "red", "1": "green", "2": "blue"} if rgb else {"0": "grey"},
        },
        "label": channels_of(structures_of([{"name": name} for name in names]), exclusive),
    }
