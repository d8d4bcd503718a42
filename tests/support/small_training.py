"""Settings with which a training takes seconds."""

from __future__ import annotations

SMALL_TRAINING = {"image_size": [64, 64], "max_epochs": 1, "batch_size": 4}
