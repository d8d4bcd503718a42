from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.volumes.labels import label_plane
from delineate.pipelines.imaging.volumes.planes import take_plane
from delineate.pipelines.imaging.volumes.volume import Volume


def label(voxels: np.ndarray) -> Volume:
    return Volume(Path("label.nii.gz"), voxels, np.eye(4))


volumes = arrays(st.sampled_from([np.uint8, np.int16, np.int64, np.float32]), (2, 3, 2), elements=st.integers(0, 4))


@settings(deadline=None)
@given(volumes, st.sets(st.integers(0, 5)))
def test_foreground_are_the_chosen_values(voxels: np.ndarray, values: set[int]) -> None:
    mask = label_plane(label(voxels), "axial", 1, values)
    plane = take_plane(voxels, np.eye(4), "axial", 1)
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[int(value in values) for value in row] for row in plane]


@settings(deadline=None)
@given(volumes)
def test_without_choice_all_but_0_is_foreground(voxels: np.ndarray) -> None:
    np.testing.assert_array_equal(
        label_plane(label(voxels), "sagittal", 0), take_plane(voxels, np.eye(4), "sagittal", 0) != 0
    )


@settings(deadline=None)
@given(volumes)
def test_binary_channels_are_the_same_as_values(voxels: np.ndarray) -> None:
    channels = np.stack([voxels == value for value in (1, 2, 3, 4)], axis=-1).astype(np.float32)
    for values in (None, [2], [1, 4], []):
        one, other = (label_plane(label(source), "coronal", 2, values) for source in (voxels, channels))
        np.testing.assert_array_equal(one, other)


def test_scaled_labels_may_be_off_by_rounding() -> None:
    voxels = np.array([[[0.9999, 1.0001, 2.00001, 0.0001]]], np.float32)
    assert [int(label_plane(label(voxels), "axial", k, [1])[0, 0]) for k in range(4)] == [1, 1, 0, 0]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -0.1])
def test_values_that_are_no_whole_numbers_are_refused_by_name(value: float) -> None:
    voxels = np.array([[[value, 1.0]]], np.float32).reshape(2, 1, 1)
    with pytest.raises(InputError, match=f"label.nii.gz: label has values {value:g}, which are no whole numbers"):
        label_plane(label(voxels), "axial", 0)


def test_channels_that_are_not_binary_are_refused() -> None:
    with pytest.raises(InputError, match="2 channels with values 2, 255"):
        label_plane(label(np.array([2, 255, 1, 0], np.uint8).reshape(1, 2, 1, 2)), "axial", 0)


def test_a_channel_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="label has 2 channels; there is no channel 3"):
        label_plane(label(np.zeros((1, 2, 1, 2))), "axial", 0, [1, 3])
