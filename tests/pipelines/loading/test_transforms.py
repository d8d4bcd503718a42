from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_files import write_image, write_seg, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from PIL import Image

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.core.sums import sha256
from delineate.pipelines.imaging import unchanged
from delineate.pipelines.loading.streams import refusal
from delineate.pipelines.loading.transforms import ReadImaged, ReadMaskd, ResizeToGridd

SIZES = [(40, 64), (64, 40), (33, 47), (20, 300), (32, 32)]


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def gradient(rows: int, columns: int) -> np.ndarray:
    """RGB of which red counts the rows and green the columns."""
    r, c = np.mgrid[:rows, :columns].astype(np.uint8)
    return np.stack([r, c, np.zeros_like(r)], axis=-1)


def corner(rows: int, columns: int) -> np.ndarray:
    """A mask that no flip, turn or shift maps onto itself: a wide bar at the top left."""
    mask = np.zeros((rows, columns), np.uint8)
    mask[: rows // 5, : columns // 2] = 1
    return mask


def resize(image: torch.Tensor, size: Sequence[int], **options: Any) -> Any:
    return ResizeToGridd("image", size, **options)({"image": image})["image"]


# --- reading -------------------------------------------------------------------------------------------------


def test_an_image_is_read_rows_first(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", gradient(20, 30))
    image = ReadImaged("image", "rgb")({"image": path})["image"]
    assert (image.shape, image.dtype) == ((3, 20, 30), torch.uint8)
    assert image[:, 7, 11].tolist() == [7, 11, 0]


def test_an_image_knows_its_file_and_size(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", gradient(20, 30))
    meta = ReadImaged("image", "rgb")({"image": path})["image"].meta
    assert (meta["filename_or_obj"], meta["spatial_shape"]) == (str(path), [20, 30])


def test_grey_is_one_channel(tmp_path: Path) -> None:
    path = save(tmp_path / "grey.png", gradient(20, 30)[..., 0])
    assert ReadImaged("image", "grey")({"image": path})["image"].shape == (1, 20, 30)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to show
    path = save(tmp_path / "turned.png", gradient(20, 30), exif=exif)
    image = ReadImaged("image", "rgb")({"image": path})["image"]
    assert image.shape == (3, 30, 20)
    assert image[:, 0, -1].tolist() == [0, 0, 0]


def test_other_fields_of_an_item_stay(tmp_path: Path) -> None:
    item = {"image": save(tmp_path / "a.png", gradient(4, 5)), "group": "patient 1"}
    assert ReadImaged("image", "rgb")(item)["group"] == "patient 1"
    assert isinstance(item["image"], Path)


def test_a_mask_is_0_and_1_rows_first(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png", corner(20, 30) * np.uint8(255))
    mask = ReadMaskd("label")({"label": path})["label"]
    assert (mask.dtype, type(mask)) == (torch.uint8, torch.Tensor)
    assert np.array_equal(mask.numpy(), corner(20, 30)[None])


def test_several_masks_are_united(tmp_path: Path) -> None:
    left, right = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    left[:, 0], right[:, -1] = 255, 255
    paths = [save(tmp_path / "a.png", left), save(tmp_path / "b.png", right)]
    assert ReadMaskd("label")({"label": paths})["label"][0, 0].tolist() == [1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("reader", [ReadImaged("image", "rgb"), ReadMaskd("image")])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, reader: Any) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png"):
        reader({"image": tmp_path / "text.png"})


# --- reading volumes and DICOM -------------------------------------------------------------------------------

HU = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4), dtype=np.int16)
LABEL = np.random.default_rng(1).integers(0, 3, HU.shape, dtype=np.uint8)
LPS = np.diag([-1.5, -2, 4, 1])
SLICING: dict[str, Any] = {"axis": "axial", "window": [0, 2000]}


def write_volume(path: Path, voxels: np.ndarray) -> str:
    nib.save(nib.Nifti1Image(voxels, LPS), path)
    return str(path)


@pytest.fixture
def slice_of_volume(tmp_path: Path) -> dict[str, Any]:
    """An item of a data list: slice 2 of a volume; of its rows, the first is the front, as the array has it."""
    paths = {"image": write_volume(tmp_path / "ct.nii.gz", HU), "label": write_volume(tmp_path / "seg.nii.gz", LABEL)}
    return {**paths, "slice": 2}


def test_a_slice_is_read_with_where_it_belongs(slice_of_volume: dict[str, Any]) -> None:
    image = ReadImaged("image", "grey", SLICING)({**slice_of_volume, "slices": 4})["image"]
    assert (image.shape, image.dtype) == ((1, 5, 6), torch.uint8)
    assert {key: image.meta[key] for key in ("filename_or_obj", "slice", "slices")} == {
        "filename_or_obj": slice_of_volume["image"],
        "slice": 2,
        "slices": 4,
    }
    assert json.loads(image.meta["spacing"]) == pytest.approx([2, 1.5])
    assert json.loads(image.meta["slicing"]) == SLICING | {"neighbours": 0, "modalities": 1}


def test_modalities_and_neighbours_are_channels(tmp_path: Path, slice_of_volume: dict[str, Any]) -> None:
    paths = [slice_of_volume["image"], write_volume(tmp_path / "mr.nii.gz", HU[::-1])]
    reader = ReadImaged("image", "grey", SLICING | {"neighbours": 1, "modalities": 2}, in_channels=6)
    image = reader({"image": paths, "slice": 2})["image"]
    assert (image.shape, json.loads(image.meta["files"])) == ((6, 5, 6), paths)
    assert torch.equal(image[3:], image[:3].flip(-1))


@pytest.mark.parametrize(("neighbours", "channels"), [(0, 1), (2, 5)])
def test_another_number_of_channels_than_the_networks_is_refused(
    slice_of_volume: dict[str, Any], neighbours: int, channels: int
) -> None:
    reader = ReadImaged("image", "grey", SLICING | {"neighbours": neighbours}, in_channels=3)
    with pytest.raises(
        InputError, match=rf"ct\.nii\.gz: gives {channels} channels; the network takes 3; set in_channels"
    ):
        reader(slice_of_volume)


@pytest.mark.parametrize(("values", "foreground"), [(None, LABEL > 0), ([2], LABEL == 2), ([1, 2], LABEL > 0)])
def test_values_of_a_label_volume_are_foreground(
    slice_of_volume: dict[str, Any], values: list[int] | None, foreground: np.ndarray
) -> None:
    item = slice_of_volume if values is None else slice_of_volume | {"label_values": values}
    mask = ReadMaskd("label", SLICING)(item)["label"]
    assert (mask.shape, mask.dtype) == ((1, 5, 6), torch.uint8)
    np.testing.assert_array_equal(mask[0], foreground[..., 2].T)


def test_a_mask_is_the_same_before_and_after_its_image_was_read(
    tmp_path: Path, slice_of_volume: dict[str, Any]
) -> None:
    two = slice_of_volume | {"image": [slice_of_volume["image"], write_volume(tmp_path / "mr.nii.gz", HU)]}
    for item, modalities in ((slice_of_volume, 1), (two, 2)):
        slicing = SLICING | {"modalities": modalities}
        before = ReadMaskd("label", slicing)(item)
        after = ReadMaskd("label", slicing)(ReadImaged("image", "grey", slicing)(item))
        assert torch.equal(before["label"], after["label"])


def test_a_series_with_its_seg_is_read(tmp_path: Path) -> None:
    uids = write_series(tmp_path / "ct", HU, LPS, SeriesInstanceUID="1.2")
    masks = np.stack([plane.T for plane in np.moveaxis(LABEL == 1, 2, 0)])
    seg = write_seg(tmp_path / "seg.dcm", masks, [(1, uid, None) for uid in uids])
    item = {"image": str(tmp_path / "ct"), "series": "1.2", "slice": 3, "label": str(seg)}
    read = ReadMaskd("label", SLICING)(ReadImaged("image", "grey", SLICING)(item))
    np.testing.assert_array_equal(read["label"][0], LABEL[..., 3].T == 1)
    assert (read["image"].shape, read["image"].meta["series"]) == ((1, 5, 6), "1.2")


@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_a_dicom_image_is_read_as_any_picture(tmp_path: Path, channels: Any) -> None:
    greys = gradient(20, 30)[..., 0]
    image = write_image(tmp_path / "IM1", greys, PixelSpacing=["0.5", "0.25"], SOPInstanceUID="1.2")
    seg = write_seg(tmp_path / "seg.dcm", corner(20, 30)[None], [(1, "1.2", None)])
    read = ReadMaskd("label")(ReadImaged("image", channels)({"image": str(image), "label": str(seg)}))
    assert read["image"].shape == (3 if channels == "rgb" else 1, 20, 30)
    np.testing.assert_array_equal(read["image"][0], greys)
    np.testing.assert_array_equal(read["label"][0], corner(20, 30))
    assert json.loads(read["image"].meta["spacing"]) == [0.5, 0.25]


def test_wrong_settings_of_slicing_are_refused_before_anything_is_read() -> None:
    with pytest.raises(DelineateError, match="window is 'abdomin'; did you mean 'abdomen'"):
        ReadImaged("image", "grey", {"axis": "axial", "window": "abdomin"})


# --- to the grid ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_grid_keeps_the_type(dtype: torch.dtype) -> None:
    grid = resize(torch.ones(3, 40, 64, dtype=dtype), (16, 24))
    assert (grid.shape, grid.dtype) == ((3, 16, 24), dtype)


@given(st.integers(0, 255), st.tuples(st.integers(1, 50), st.integers(1, 50)))
@settings(max_examples=30, deadline=None)
def test_a_constant_image_stays_constant(value: int, size: tuple[int, int]) -> None:
    assert resize(torch.full((3, *size), value, dtype=torch.uint8), (16, 24)).unique().tolist() == [value]


def test_an_image_of_the_grids_size_is_not_touched() -> None:
    image = torch.from_numpy(gradient(16, 24)).permute(2, 0, 1)
    assert torch.equal(resize(image, (16, 24)), image)


def test_a_fine_pattern_is_averaged_not_sampled() -> None:
    stripes = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(1, 64, 64)
    assert (resize(stripes, (16, 16)).float() - 127.5).abs().max() < 40


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_mask_stays_0_and_1(size: tuple[int, int], seed: int) -> None:
    mask = torch.rand(1, *size, generator=torch.Generator().manual_seed(seed)).round().to(torch.uint8)
    grid = resize(mask, (16, 24), is_mask=True)
    assert grid.dtype == torch.uint8
    assert set(grid.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_a_full_mask_stays_full_and_an_empty_one_empty(size: tuple[int, int], value: int) -> None:
    mask = torch.full((1, *size), value, dtype=torch.uint8)
    assert resize(mask, (32, 32), is_mask=True).unique().tolist() == [value]


def test_a_mask_keeps_its_share_of_the_image() -> None:
    mask = torch.from_numpy(corner(300, 200))[None]
    share = resize(mask, (64, 64), is_mask=True).float().mean()
    assert share == pytest.approx(float(mask.float().mean()), abs=0.01)


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_gives_the_original_size(size: tuple[int, int]) -> None:
    resizer = ResizeToGridd("image", (32, 32))
    back = resizer.inverse(resizer({"image": MetaTensor(torch.zeros(1, *size))}))["image"]
    assert (back.shape, back.dtype, back.applied_operations) == ((1, *size), torch.float32, [])


def test_the_image_before_resizing_is_not_changed() -> None:
    image = MetaTensor(torch.zeros(1, 40, 64))
    resize(image, (32, 32))
    assert image.applied_operations == []


# --- a bundle's way there and back ---------------------------------------------------------------------------


def bundles_way(name: str) -> tuple[Any, Any]:
    """Pre- and postprocessing of a shipped bundle."""
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()[name] / "configs" / "inference.yaml"))
    parser["image_size"] = [64, 64]
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")


def there_and_back(pixels: np.ndarray, path: Path, name: str) -> dict[str, Any]:
    """What a network that finds bright pixels, and nothing else, leaves of an image."""
    preprocessing, postprocessing = bundles_way(name)
    item = preprocessing({"image": str(save(path, pixels))})
    logits = (item["image"].as_tensor().mean(0, keepdim=True) - 0.5) * 50
    result: dict[str, Any] = postprocessing({"image": item["image"], "pred": logits})
    return result


@pytest.mark.parametrize("name", ["skin_lesion", "breast_lesion", "nerve", "ct_slice"])
@pytest.mark.parametrize("size", [(90, 150), (150, 90), (64, 64), (50, 40)])
def test_a_shape_in_a_corner_stays_in_that_corner(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    mask = corner(*size)
    result = there_and_back(mask * np.uint8(255), tmp_path / "a.png", name)["pred"]
    assert result.shape == (1, *size)
    assert set(result.unique().tolist()) == {0.0, 1.0}
    agreement = (np.asarray(result[0]) == mask).mean()
    assert agreement > 0.98


@pytest.mark.parametrize("value", [0, 255])
def test_a_constant_image_comes_back_constant(tmp_path: Path, value: int) -> None:
    result = there_and_back(np.full((50, 90), value, np.uint8), tmp_path / "a.png", "skin_lesion")
    assert result["pred"].unique().tolist() == [value / 255]
    assert result["probability"].shape == (1, 50, 90)


def test_the_turn_of_a_photo_is_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "turned.png", corner(60, 100) * np.uint8(255), exif=exif)
    preprocessing, postprocessing = bundles_way("skin_lesion")
    item = preprocessing({"image": str(tmp_path / "turned.png")})
    logits = (item["image"].as_tensor().mean(0, keepdim=True) - 0.5) * 50
    seen = np.asarray(postprocessing({"image": item["image"], "pred": logits})["pred"][0])
    assert (seen == np.rot90(corner(60, 100), -1)).mean() > 0.98


def test_preprocessing_gives_float32_from_0_to_1(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255
    image = bundles_way("skin_lesion")[0]({"image": str(save(tmp_path / "a.png", pixels))})["image"]
    assert (image.shape, image.dtype, image.aminmax()) == ((3, 64, 64), torch.float32, (0, 1))


def test_the_way_back_leaves_the_image_as_it_was(tmp_path: Path) -> None:
    preprocessing, postprocessing = bundles_way("skin_lesion")
    item = preprocessing({"image": str(save(tmp_path / "a.png", gradient(50, 90)))})
    sizes = [postprocessing({**item, "pred": torch.zeros(1, 64, 64)})["pred"].shape for _ in range(2)]
    assert sizes == [(1, 50, 90)] * 2
    assert len(item["image"].applied_operations) == 1


def test_a_refused_file_is_named_through_the_whole_way(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as error:
        bundles_way("skin_lesion")[0]({"image": str(tmp_path / "missing.png")})
    assert "missing.png: does not exist" in str(refusal(error.value))


# --- files that changed after they were indexed --------------------------------------------------------------


def indexed(folder: Path) -> dict[str, Any]:
    """An item as a data list has it."""
    image, label = save(folder / "a.png", gradient(8, 9)), save(folder / "a_mask.png", corner(8, 9) * 255)
    return {"image": str(image), "label": str(label)} | {
        "image_sha256": sha256(image),
        "label_sha256": [sha256(label)],
    }


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_file_that_changed_since_it_was_indexed_is_refused(tmp_path: Path, key: str) -> None:
    item = indexed(tmp_path)
    read = ReadImaged("image", "rgb") if key == "image" else ReadMaskd("label")
    assert f"{key}_sha256" not in read(item)
    path, status = Path(item[key]), os.stat(item[key])
    Image.fromarray(255 - np.array(Image.open(path))).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match=rf"{path.name}: changed since it was indexed; index again"):
        read(item)


def test_a_file_without_a_known_hash_is_read(tmp_path: Path) -> None:
    item = indexed(tmp_path)
    del item["image_sha256"]
    assert ReadImaged("image", "rgb")(item)["image"].shape == (3, 8, 9)


def test_a_file_that_stays_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item, hashed = indexed(tmp_path), []
    monkeypatch.setattr(unchanged, "content_hash", lambda path: hashed.append(path) or sha256(path))
    for _ in range(3):
        ReadImaged("image", "rgb")(item)
    assert hashed == [Path(item["image"])]
