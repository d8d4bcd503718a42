"""What ``delineate segment`` prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ensembles import random_bundle
from familiar_bundles import noise, page, teach, write
from PIL import Image
from processes import inside, succeeded
from structured_bundles import structured_bundle


def test_a_folder_is_printed_by_its_name_whatever_that_is(tmp_path: Path) -> None:
    structured_bundle(tmp_path / "chest", exclusive=False)
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "a.png")
    done = succeeded(inside("segment", "chest", "a.png", "--out", "None/masks", cwd=tmp_path))
    assert "a.png -> None/masks/a_*_mask.png (" in done.stdout


def test_images_unlike_those_of_the_training_are_told_in_one_line(tmp_path: Path) -> None:
    teach(random_bundle(tmp_path / "known", 0))
    (tmp_path / "photos").mkdir()
    for name in "abcde":
        write(tmp_path / "photos" / f"{name}.png", page())
    write(tmp_path / "photos" / "f.png", noise())
    done = succeeded(inside("segment", "known", "photos", "--out", "masks", cwd=tmp_path))
    told = "with: 5 of 6 (photos/a.png, photos/b.png, photos/c.png, ...); do not rely on their masks"
    assert [told in line for line in done.stderr.splitlines()] == [True]
