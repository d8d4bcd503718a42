from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_image, write_seg, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation
from shared_data import SHARED

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.slices import cut_volumes
from delineate.pipelines.imaging import reading
from delineate.pipelines.imaging.item import Item, kind_of
from delineate.pipelines.imaging.volumes.formats import read_volume
from delineate.pipelines.imaging.volumes.planes import put_plane, take_plane
from delineate.pipelines.imaging.volumes.slicing import Axis, Slicing
from delineate.pipelines.imaging.volumes.windows import Window, show

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")

RNG = np.random.default_rng(0)
SHAPE = (4, 3, 5)
HU = RNG.integers(-1000, 1000, SHAPE, dtype=np.int16)
LABEL = RNG.integers(0, 3, SHAPE, dtype=np.uint8)
LPS = np.array([[-1.5, 0, 0, 3], [0, -2, 0, 5], [0, 0, 4, -7], [0, 0, 0, 1]])
AXES: tuple[Axis, ...] = ("sagittal", "coronal", "axial")
COUNTS = dict(zip(AXES, SHAPE, strict=True))
AXIAL = Slicing("axial", [0, 2000])
ORIENTATIONS = [
    np.array(signs) * np.eye(3)[:, order] for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def read_pixels(fields: dict[str, Any], *how: Any) -> np.ndarray:
    return reading.read_pixels(Item.from_fields(fields), *how)


def read_label(fields: dict[str, Any], *how: Any) -> np.ndarray:
    return reading.read_label(Item.from_fields(fields), *how)


def read_spacing(fields: dict[str, Any], *how: Any) -> tuple[float, float] | None:
    return reading.read_spacing(Item.from_fields(fields), *how)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = LPS) -> str:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return str(path)


@pytest.fixture
def volume(tmp_path: Path) -> dict[str, Any]:
    """An item of a volume and its label, without a slice."""
    return {"image": save(tmp_path / "ct.nii.gz", HU), "label": save(tmp_path / "ct_seg.nii.gz", LABEL)}


@pytest.fixture
def series(tmp_path: Path) -> tuple[dict[str, Any], list[str]]:
    """The same volume as a series, and the UIDs of its slices."""
    uids = write_series(tmp_path / "series", HU, LPS, SeriesInstanceUID="1.2.3")
    return {"image": str(tmp_path / "series"), "series": "1.2.3"}, uids


# what a file is


def test_kinds_are_told_by_name_else_by_content(tmp_path: Path, volume: dict[str, Any]) -> None:
    image = write_image(tmp_path / "IM0001", HU[..., 0])
    (tmp_path / "notes").write_text("no image")
    assert kind_of(Path(volume["image"])) == kind_of(tmp_path) == kind_of(image, series="1.2") == "volume"
    assert kind_of(image) == "dicom"
    assert kind_of(tmp_path / "a.JPG") == kind_of(tmp_path / "notes") == kind_of(tmp_path / "missing") == "picture"


# volumes


def test_a_slice_is_shown_through_the_window(volume: dict[str, Any]) -> None:
    pixels = read_pixels({**volume, "slice": 2}, "grey", AXIAL)
    plane = take_plane(HU, LPS, "axial", 2)
    np.testing.assert_array_equal(pixels, show(plane, Window(-1000, 1000))[..., None])
    np.testing.assert_array_equal(read_pixels({**volume, "slice": 2}, "rgb", AXIAL), np.repeat(pixels, 3, axis=2))


def test_neighbours_of_modalities_are_channels(tmp_path: Path, volume: dict[str, Any]) -> None:
    item = {"image": [volume["image"], save(tmp_path / "mr.nii.gz", -HU)], "slice": 0}
    pixels = read_pixels(item, "grey", Slicing("axial", [0, 2000], neighbours=1, modalities=2))
    planes = [take_plane(sign * HU, LPS, "axial", index) for sign in (1, -1) for index in (0, 0, 1)]
    np.testing.assert_array_equal(pixels, np.stack([show(plane, Window(-1000, 1000)) for plane in planes], axis=-1))


def test_three_slices_fill_rgb_and_another_number_is_refused(volume: dict[str, Any]) -> None:
    item = {**volume, "slice": 2}
    three = Slicing("axial", neighbours=1)
    np.testing.assert_array_equal(read_pixels(item, "rgb", three), read_pixels(item, "grey", three))
    with pytest.raises(InputError, match="gives 5 channels a slice, where rgb has 3; set channels=grey"):
        read_pixels(item, "rgb", Slicing("axial", neighbours=2))


def test_people_are_shown_the_slice_itself(tmp_path: Path, volume: dict[str, Any]) -> None:
    item = {"image": [volume["image"], save(tmp_path / "mr.nii.gz", -HU)], "slice": 2}
    picture = reading.read_picture(Item.from_fields(item), Slicing("axial", [0, 2000], neighbours=2, modalities=2))
    np.testing.assert_array_equal(picture, read_pixels({**volume, "slice": 2}, "rgb", AXIAL))


def test_a_volume_is_refused_where_nothing_says_how_to_cut_it(volume: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"ct\.nii\.gz: is a volume, and this bundle reads pictures, not volumes; "):
        read_pixels({**volume, "slice": 0})


def test_a_modality_on_another_grid_is_refused_by_name(tmp_path: Path, volume: dict[str, Any]) -> None:
    item = {"image": [volume["image"], save(tmp_path / "mr.nii.gz", HU, np.eye(4))], "slice": 0}
    with pytest.raises(InputError, match=r"mr\.nii\.gz: lies elsewhere"):
        read_pixels(item, "grey", Slicing("axial", modalities=2))


# labels


@st.composite
def affines(draw: Any) -> np.ndarray:
    """Any order and direction of the axes (RAS, LPS, sagittal first, ...), at times oblique."""
    turn = Rotation.from_rotvec(draw(st.tuples(*[st.floats(-0.35, 0.35)] * 3))).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ draw(st.sampled_from(ORIENTATIONS)) * draw(st.tuples(*[st.floats(0.3, 6)] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-300, 300)] * 3))
    return affine


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 5)] * 3),
    affines(),
    st.sampled_from(AXES),
    st.sampled_from([None, [1], [2, 3]]),
    st.data(),
)
def test_masks_of_all_slices_put_back_are_the_label(
    shape: tuple[int, int, int], affine: np.ndarray, axis: Axis, values: list[int] | None, data: Any
) -> None:
    label = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 4, shape, dtype=np.uint8)
    with TemporaryDirectory() as folder:
        image, mask = (Path(save(Path(folder, name), label, affine)) for name in ("a.nii", "a_seg.nii"))
        whole = Item.of(image, mask, label_values=values and tuple(values))
        items, refused = cut_volumes([whole], Slicing(axis))
        back, grid = np.zeros(shape, np.uint8), read_volume(image).affine
        for item in items:
            put_plane(back, grid, axis, item.slice, reading.read_label(item, Slicing(axis)))
    assert not refused
    np.testing.assert_array_equal(back, label > 0 if values is None else np.isin(label, values))


def test_several_label_volumes_are_united(tmp_path: Path, volume: dict[str, Any]) -> None:
    parts = [save(tmp_path / f"{value}.nii.gz", (value == LABEL).astype(np.uint8)) for value in (1, 2)]
    whole, united = (read_label({**volume, "label": label, "slice": 1}, AXIAL) for label in (volume["label"], parts))
    np.testing.assert_array_equal(united, whole)


def test_a_label_on_another_grid_is_refused_by_name(tmp_path: Path, volume: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"small\.nii\.gz: has 4x3x4 voxels, .*ct\.nii\.gz has 4x3x5"):
        read_label({**volume, "label": save(tmp_path / "small.nii.gz", LABEL[..., :4]), "slice": 0}, AXIAL)


# DICOM


def test_the_frame_is_the_slice(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (3, 4, 6), dtype=np.uint8)
    image = write_image(tmp_path / "cine", frames)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(read_pixels({"image": image, "slice": index}, "grey")[..., 0], frame)


def test_monochrome1_is_shown_inverted(tmp_path: Path) -> None:
    greys = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
    plain, inverted = (
        read_pixels({"image": write_image(tmp_path / name, greys, PhotometricInterpretation=name)}, "grey")
        for name in ("MONOCHROME2", "MONOCHROME1")
    )
    np.testing.assert_array_equal(inverted, 255 - plain)


def test_a_series_is_seen_as_the_nifti_of_its_voxels(volume: dict[str, Any], series: Any) -> None:
    for axis in AXES:
        slicing = Slicing(axis, "abdomen", neighbours=1)
        for index in range(COUNTS[axis]):
            one, other = ({**item, "slice": index} for item in (volume, series[0]))
            np.testing.assert_array_equal(read_pixels(other, "grey", slicing), read_pixels(one, "grey", slicing))
            assert read_spacing(other, slicing) == pytest.approx(read_spacing(one, slicing))


def test_a_series_that_has_gone_is_refused(series: Any) -> None:
    with pytest.raises(InputError, match=r"series: holds no DICOM series .* that is a volume"):
        read_pixels({**series[0], "series": "1.2.4", "slice": 0}, "grey", AXIAL)


@pytest.mark.parametrize("values", [None, [1], [2]])
@pytest.mark.parametrize("axis", AXES)
def test_a_seg_of_a_series_is_the_label_volume_of_its_masks(
    tmp_path: Path, volume: dict[str, Any], series: Any, values: list[int] | None, axis: Axis
) -> None:
    item, uids = series
    drawn = [(segment, index) for segment in (1, 2) for index in (3, 0, 2)]  # slices 1 and 4 have no frame
    masks = np.stack([segment == LABEL[..., index].T for segment, index in drawn])
    seg = write_seg(tmp_path / "seg.dcm", masks, [(segment, uids[index], None) for segment, index in drawn])
    label = save(tmp_path / "drawn.nii.gz", LABEL * np.isin(np.arange(5), (0, 2, 3)).astype(np.uint8))
    given_values = {} if values is None else {"label_values": values}
    for index in range(COUNTS[axis]):
        one = {**item, "label": str(seg), "slice": index, **given_values}
        other = {**volume, "label": label, "slice": index, **given_values}
        np.testing.assert_array_equal(read_label(one, Slicing(axis)), read_label(other, Slicing(axis)))


def test_a_label_volume_fits_the_series_that_it_was_made_of(volume: dict[str, Any], series: Any) -> None:
    one, other = ({**item, "label": volume["label"], "slice": 3} for item in (volume, series[0]))
    np.testing.assert_array_equal(read_label(other, AXIAL), read_label(one, AXIAL))


def test_a_seg_of_frames_is_read_frame_by_frame(tmp_path: Path) -> None:
    masks = RNG.integers(0, 2, (3, 4, 6), dtype=np.uint8)
    image = write_image(tmp_path / "cine", masks, SOPInstanceUID="1.5")
    seg = write_seg(tmp_path / "seg.dcm", masks, [(1, "1.5", 2), (2, "1.5", 3), (1, "1.5", 3)])
    item = {"image": image, "label": [seg]}
    expected = (np.zeros((4, 6)), masks[0], masks[1] | masks[2])
    for index, mask in enumerate(expected):
        np.testing.assert_array_equal(read_label({**item, "slice": index}), mask)
    np.testing.assert_array_equal(read_label({**item, "slice": 2, "label_values": [2]}), masks[1])


def test_pictures_are_masks_of_dicom_images(tmp_path: Path) -> None:
    mask = RNG.integers(0, 2, (4, 6), dtype=np.uint8)
    Image.fromarray(mask * np.uint8(255)).save(tmp_path / "mask.png")
    image = write_image(tmp_path / "a.dcm", mask, SOPInstanceUID="1.5")
    item = {"image": image, "label": str(tmp_path / "mask.png")}
    np.testing.assert_array_equal(read_label(item), mask)
    seg = write_seg(tmp_path / "seg.dcm", 1 - mask[None], [(1, "1.5", None)])
    assert read_label({**item, "label": [tmp_path / "mask.png", seg]}).all()


def test_masks_of_two_sizes_are_refused_by_name(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.dcm", np.zeros((4, 6), np.uint8), SOPInstanceUID="1.5")
    seg = write_seg(tmp_path / "seg.dcm", np.ones((1, 4, 6), np.uint8), [(1, "1.5", None)])
    Image.new("L", (5, 4)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png: mask is 5x4, mask seg\.dcm of the same image is 6x4"):
        read_label({"image": image, "label": [seg, tmp_path / "mask.png"]})


# spacing


@pytest.mark.parametrize(("axis", "spacing"), [("axial", (2, 1.5)), ("coronal", (4, 1.5)), ("sagittal", (4, 2))])
def test_spacing_is_that_of_rows_and_columns(volume: dict[str, Any], axis: Axis, spacing: tuple[float, float]) -> None:
    assert read_spacing(volume, Slicing(axis)) == pytest.approx(spacing)


def test_the_spacing_of_an_item_goes_before_that_of_its_file(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.dcm", HU[..., 0], PixelSpacing=["0.5", "0.25"])
    assert read_spacing({"image": image}) == (0.5, 0.25)
    assert read_spacing({"image": image, "spacing": [3, 2]}) == (3, 2)
    Image.new("L", (5, 4)).save(tmp_path / "a.png")
    assert read_spacing({"image": tmp_path / "a.png"}) is None


# real files


@needs_shared
@pytest.mark.parametrize("axis", AXES)
def test_areas_of_a_real_spleen_are_those_that_nibabel_counts(axis: Axis) -> None:
    image, mask = (SHARED / f"nifti/spleen_ct/sub-spleen2_ct{end}.nii.gz" for end in ("", "_seg-manual"))
    label = nib.load(mask)
    across = nib.io_orientation(label.affine)[:, 0].tolist().index(AXES.index(axis))
    counts = (np.asarray(label.dataobj) > 0).sum(axis=tuple({0, 1, 2} - {across}))
    items, refused = cut_volumes([Item.of(image, mask)], Slicing(axis))
    areas = [int(reading.read_label(one, Slicing(axis)).sum()) for one in items]
    assert not refused
    assert areas == counts.tolist()
    assert sum(areas) > 1000


@needs_shared
def test_every_readable_dicom_file_is_a_picture() -> None:
    refused, shown = [], 0
    for path in sorted((SHARED / "dicom").rglob("*.dcm")):
        try:
            pixels = read_pixels({"image": path, "slice": 0}, "grey")
        except InputError as error:
            refused.append(path.parent.name if error.source == str(path) else error.source)
            continue
        assert (pixels.dtype, pixels.ndim, pixels.shape[2]) == (np.uint8, 3, 1), path
        shown += 1
    assert shown > 70
    assert set(refused) == {"seg", "rtstruct_ct", "not_images_or_broken"}
