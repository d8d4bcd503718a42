"""What computes a network: one module a backend, all called alike; sliding windows and precision stay outside of it.

A new one is a module that has what `Backend` has, and a line in `BACKENDS`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol, cast

from monai.bundle import ConfigParser

from ...core.errors import UnknownNameError

BACKENDS = {"torch": "torch"}
"""Names to the modules here."""


class Backend(Protocol):
    """What a module here has."""

    def load(self, parser: ConfigParser) -> Any:
        """Make the network of a bundle ready, on the bundle's ``device``.

        Args:
            parser: of its ``inference.yaml``, with all settings.

        Returns:
            what the bundle's inferer calls for each window: image (B, C, H, W), float32, 0-1, on that device, to logits
            (B, out_channels, H, W) there.

        Raises:
            DelineateError: there are no weights of that form, they do not fit, or a package is missing.
        """


def load_network(backend: str, parser: ConfigParser) -> Any:
    """As `Backend.load`.

    Raises:
        UnknownNameError: there is no such backend.
        DelineateError: it cannot load the network.
    """
    if backend not in BACKENDS:
        raise UnknownNameError("backend", backend, BACKENDS)
    return cast("Backend", import_module(f".{BACKENDS[backend]}", __name__)).load(parser)
