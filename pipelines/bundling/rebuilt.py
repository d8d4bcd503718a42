"""A bundle built anew from ``delineate.configs`` in its place: its weights stay, and what is said of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..core.errors import DelineateError, printable
from ..core.files import put_in_place
from ..imaging.structures import structures_of
from .bundles import new_bundle
from .card_text import CARD, card_of, put_card
from .verify.config import MISSING, Config, read_config

_OF_WEIGHTS = (
    *("channels", "in_channels", "structures", "exclusive", "out_channels", "slicing", "image_size"),
    *("to_grid", "to_network", "network_def"),
)
"""Ids of ``inference.yaml`` that weights were trained with: with others they draw other masks, or none."""
_ONCE = {"pretrained"}  # of a network: what its training began with


def rebuild_bundle(folder: Path, task: str, network: str, loss: str) -> Path:
    """Build a bundle anew where it lies; ``models/``, ``logs/`` and the model card stay.

    Args:
        folder: of the bundle.
        task: as for `new_bundle`.
        network: the same.
        loss: the same.

    Returns:
        the folder.

    Raises:
        DelineateError: ``folder`` holds no bundle, or its weights are of another configuration; nothing is changed.
        UnknownNameError: a part is unknown; nothing is changed.
    """
    if not (folder / "configs" / "inference.yaml").is_file():
        raise DelineateError(f"{printable(folder)} holds no bundle to replace; leave out --replace to make one")
    with TemporaryDirectory(prefix=".rebuild.", dir=folder.resolve().parent) as temporary:
        draft = new_bundle(Path(temporary) / "bundle", task, network, loss, name=folder.name)
        if (folder / "models").is_dir():
            refuse_other_weights(folder, draft)
        if (folder / CARD).is_file():
            shutil.copyfile(folder / CARD, draft / CARD)
        if card := card_of(folder):
            put_card(draft, *card)
        put_in_place(draft, folder, [one.name for one in draft.iterdir()])
    return folder


def refuse_other_weights(weights: Path, bundle: Path) -> None:
    """See that weights fit a configuration.

    Args:
        weights: the bundle or run that has them, with the configuration that they were trained with.
        bundle: the bundle that is to have them.

    Raises:
        DelineateError: images are prepared otherwise, or it is another network.
    """
    one, other = (read_config(folder / "configs" / "inference.yaml") for folder in (weights, bundle))
    for id_ in _OF_WEIGHTS:
        seen, wanted = _meaning(one, id_), _meaning(other, id_)
        if seen != wanted:
            raise DelineateError(
                f"the weights of {printable(weights)} were trained with {id_} {str(seen)[:200]}, and the configuration "
                f"has {str(wanted)[:200]}; train with that configuration, or change it (configs/)"
            )


def _meaning(config: Config, id_: str) -> Any:
    """A value as far as weights depend on it: of structures their names, of a network not what it began with."""
    value = config.resolved(id_)
    if id_ == "structures" and value is not MISSING:
        return [one.name for one in structures_of(value)]
    if id_ == "network_def" and isinstance(value, dict):
        return {key: one for key, one in value.items() if key not in _ONCE}
    return value
