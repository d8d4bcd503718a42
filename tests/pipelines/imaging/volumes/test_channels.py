from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.imaging.volumes import channels
from delineate.pipelines.imaging.volumes.channels import planes_as_channels
from delineate.pipelines.imaging.volumes.planes import take_plane
from delineate.pipelines.imaging.volumes.slicing import Slicing
from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.volumes.windows import Window, resolve, show

RNG = np.random.default_rng(0)
FULL = (127.5, 255)  # centre and width that leave 0-255 as they are


def modality(name: str = "a", *, parts: int | None = None, **asked: Any) -> Volume:
    shape = (3, 4, 5) if parts is None else (3, 4, 5, parts)
    return Volume(Path(name), RNG.integers(0, 256, shape, dtype=np.uint8), np.eye(4), **asked)


def test_a_slice_is_one_channel() -> None:
    volume = modality()
    pixels = planes_as_channels([volume], Slicing("axial", FULL), 2)
    np.testing.assert_array_equal(pixels[..., 0], take_plane(volume.voxels, volume.affine, "axial", 2))
    assert pixels.shape == (4, 3, 1)


def test_channels_go_by_modality_then_by_slice() -> None:
    first, second = modality("a"), modality("b", parts=2)
    pixels = planes_as_channels([first, second], Slicing("axial", FULL, neighbours=1), 2)
    voxels = [first.voxels, second.voxels[..., 0], second.voxels[..., 1]]
    expected = [take_plane(values, np.eye(4), "axial", index) for values in voxels for index in (1, 2, 3)]
    np.testing.assert_array_equal(pixels, np.stack(expected, axis=-1))


def test_the_last_slice_is_repeated_beyond_the_ends() -> None:
    volume = modality()
    first, last = (planes_as_channels([volume], Slicing("axial", FULL, neighbours=2), index) for index in (0, 4))
    planes = [take_plane(volume.voxels, volume.affine, "axial", index) for index in range(5)]
    np.testing.assert_array_equal(first, np.stack([planes[i] for i in (0, 0, 0, 1, 2)], axis=-1))
    np.testing.assert_array_equal(last, np.stack([planes[i] for i in (2, 3, 4, 4, 4)], axis=-1))


def test_percentiles_are_of_the_whole_volume_and_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Window] = []

    def counted(*arguments: Any) -> Window:
        calls.append(resolve(*arguments))
        return calls[-1]

    monkeypatch.setattr(channels, "resolve", counted)
    volume = modality()
    greys = [planes_as_channels([volume], Slicing("axial", "10%,90%"), index)[..., 0] for index in range(5)]
    assert calls == [Window(*np.percentile(volume.voxels, [10, 90]))]
    for index, grey in enumerate(greys):
        np.testing.assert_array_equal(grey, show(take_plane(volume.voxels, volume.affine, "axial", index), calls[0]))


def test_windows_are_forgotten_with_their_volume() -> None:
    before = dict(channels._RESOLVED)
    planes_as_channels([modality()], Slicing("axial"), 0)
    assert before == channels._RESOLVED


@pytest.mark.parametrize(
    ("window", "expected"),
    [("auto", [10, 10, 10]), ([[0, 20], [0, 40]], [10, 20, 20]), ([[0, 20], [0, 40], [0, 60]], [10, 20, 30])],
    ids=["for all", "for each volume", "for each channel"],
)
def test_windows_belong_to_their_channels(window: Any, expected: list[int]) -> None:
    asked = Window(-10, 10)
    volumes = [modality("a", window=asked), modality("b", parts=2, window=asked)]
    greys = planes_as_channels(volumes, Slicing("axial", window), 0)
    for part, high in enumerate(expected):
        values = (volumes[0].voxels, *np.moveaxis(volumes[1].voxels, -1, 0))[part]
        plane = take_plane(values, np.eye(4), "axial", 0)
        np.testing.assert_array_equal(greys[..., part], show(plane, Window(-high, high)))


def test_an_inverted_volume_is_shown_inverted() -> None:
    volume = modality(inverted=True)
    pixels = planes_as_channels([volume], Slicing("axial", FULL), 0)
    np.testing.assert_array_equal(pixels[..., 0], 255 - take_plane(volume.voxels, volume.affine, "axial", 0))


def test_another_number_of_windows_is_refused() -> None:
    with pytest.raises(DelineateError, match="2 windows for 1 volumes with 3 channels"):
        planes_as_channels([modality(parts=3)], Slicing("axial", ["auto", "auto"]), 0)


def test_volumes_need_an_axis_and_a_slice_that_is_there() -> None:
    with pytest.raises(DelineateError, match="need an axis"):
        planes_as_channels([modality()], Slicing(), 0)
    with pytest.raises(DelineateError, match="no axial slice 5"):
        planes_as_channels([modality()], Slicing("axial"), 5)


def test_modalities_on_other_grids_are_refused_by_name() -> None:
    other = Volume(Path("other"), np.zeros((3, 4, 5)), np.diag([1.0, 1, 2, 1]))
    with pytest.raises(InputError, match=r"other: lies elsewhere: .* from those of first"):
        planes_as_channels([modality("first"), other], Slicing("axial"), 0)
