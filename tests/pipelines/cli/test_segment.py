"""What ``delineate segment`` prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from processes import inside, succeeded
from structured_bundles import structured_bundle


def test_a_folder_is_printed_by_its_name_whatever_that_is(tmp_path: Path) -> None:
    structured_bundle(tmp_path / "chest", exclusive=False)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a.png")
    done = succeeded(inside("segment", "chest", "a.png", "--out", "None/masks", cwd=tmp_path))
    assert "a.png -> None/masks/a_*_mask.png (" in done.stdout
