from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from delineate.pipelines.phantoms.volumes import phantom_volume, write_phantom_volumes


def test_the_same_seed_gives_the_same_volume() -> None:
    for one, other in zip(phantom_volume(3), phantom_volume(3), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(phantom_volume(3)[0], phantom_volume(5)[0])


@pytest.mark.parametrize(("seed", "orientation"), [(2, ("R", "A", "S")), (3, ("L", "P", "S"))])
def test_volumes_are_stored_both_ways_round(seed: int, orientation: tuple[str, ...]) -> None:
    assert nibabel.aff2axcodes(phantom_volume(seed)[2]) == orientation


@pytest.mark.parametrize("seed", range(6))
def test_the_labelled_organ_lies_on_the_left_and_in_the_back(seed: int) -> None:
    _, label, affine = phantom_volume(seed)
    middle = affine[:3, :3] @ np.argwhere(label).mean(axis=0) + affine[:3, 3]
    assert middle[0] < -40
    assert middle[1] < -10


@pytest.mark.parametrize("seed", range(6))
def test_the_organ_is_brighter_than_the_trunk_and_darker_than_bone(seed: int) -> None:
    values, label, _ = phantom_volume(seed)
    assert 80 < np.median(values[label == 1]) < 150
    assert values.min() < -900
    assert values.max() > 400


def test_written_volumes_come_back_as_drawn(tmp_path: Path) -> None:
    write_phantom_volumes(tmp_path, 2)
    values, label, affine = phantom_volume(2)
    for folder, voxels in (("imagesTr", values), ("labelsTr", label)):
        written = nibabel.load(tmp_path / folder / "phantom_0002.nii.gz")
        assert np.array_equal(np.asarray(written.dataobj), voxels)
        assert np.array_equal(written.affine, affine)
