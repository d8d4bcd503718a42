"""PyTorch: the network as it was trained."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigParser


def load(parser: ConfigParser) -> Any:
    """The network that the bundle's ``inference.yaml`` makes, a ``torch.nn.Module``, with its weights."""
    return parser.get_parsed_content("network")
