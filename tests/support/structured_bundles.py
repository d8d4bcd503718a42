"""Bundles of several structures, with the weights that chance gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import new_bundle
from delineate.pipelines.core.sums import write_sums

CHEST = [{"name": "heart"}, {"name": "left lung"}, {"name": "right lung"}]


def structured_bundle(folder: Path, exclusive: bool, task: str = "nerve", structures: Any = None) -> Path:
    """A bundle whose masks of noise have both values."""
    structures = CHEST if structures is None else structures
    channels = len(structures) + exclusive
    settings = {"structures": structures, "exclusive": exclusive, "out_channels": channels, "image_size": [32, 32]}
    new_bundle(folder, task, "ultra_light_unet", settings=settings)
    torch.manual_seed(1)
    network = create_network("ultra_light_unet", in_channels=1, out_channels=channels)
    _spread(network)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
    return folder


@torch.no_grad()
def _spread(network: torch.nn.Module) -> None:
    """Let the logits of noise be about 0, with a deviation of 2: those of a new network hardly differ."""
    *_, weight, bias = network.eval().parameters()
    logits = network(torch.rand(1, 1, 32, 32))
    mean, deviation = logits.mean((0, 2, 3)), logits.std((0, 2, 3))
    weight *= 2 / deviation[:, None, None, None]
    bias.copy_((bias - mean) * 2 / deviation)
