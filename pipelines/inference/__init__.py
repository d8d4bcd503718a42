"""Masks from images: inputs, the network on this machine, results."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "network": ["load_network"],
        "handlers": ["MaskWriter", "end_with_refused"],
        "inferer": ["PrecisionInferer"],
        "inputs": ["find_images"],
    },
)
