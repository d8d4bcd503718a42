"""Bundles with the weights that chance gives, to be put together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import change_bundle, new_bundle
from delineate.pipelines.core.sums import write_sums


def random_bundle(folder: Path, seed: int, task: str = "nerve", **settings: Any) -> Path:
    """A light bundle, whose logits of noise are about 0."""
    new_bundle(folder, task, "ultra_light_unet", settings={"image_size": [32, 32], **settings})
    torch.manual_seed(seed)
    arguments = {"features": [8, 8, 16]}
    change_bundle(folder, {f"network_def::{name}": value for name, value in arguments.items()})
    network = create_network("ultra_light_unet", in_channels=1, out_channels=1, **arguments)
    write_weights(folder, network)
    return folder


def write_weights(folder: Path, network: torch.nn.Module) -> None:
    """Put the network's weights into a bundle, spread so that masks of noise have both values."""
    with torch.no_grad():
        *_, weight, bias = network.eval().parameters()
        logits = network(torch.rand(1, 1, 32, 32))
        weight *= 2 / logits.std((0, 2, 3))[:, None, None, None]
        bias.copy_((bias - logits.mean((0, 2, 3))) * 2 / logits.std((0, 2, 3)))
    (folder / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
