"""Real images beside the checkout, which are never committed; tests that need them skip where they are missing."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parents[2] / "../shared/data"
