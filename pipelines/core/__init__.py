"""What all others stand on: errors, files and their hashes, processes, versions."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "memory": ["keep_freed_memory"],
    },
)
