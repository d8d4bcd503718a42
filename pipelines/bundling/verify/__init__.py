"""`delineate bundle verify`: is this folder a bundle that one may load? Read and judged, never run."""

from .bundle import verify_bundle
from .findings import Finding

__all__ = ["Finding", "verify_bundle"]
