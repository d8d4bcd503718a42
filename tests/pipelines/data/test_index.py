from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from delineate.pipelines.data.index import dataset_hash, index_dataset
from delineate.pipelines.data.splits import SPLITS
from delineate.pipelines.errors import DelineateError, InputError, UnknownNameError

SHARED = Path(__file__).parents[3] / "../shared/data"
MASK = np.pad(np.full((3, 4), 255, np.uint8), 2)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*MASK.shape, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def make_paired(root: Path, names: Sequence[str] = "abcdefghij") -> Path:
    for seed, name in enumerate(names):
        save(root / f"images/{name}.png", picture(seed))
        save(root / f"masks/{name}.png", MASK)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_paired(tmp_path / "source")


def load(out: Path) -> dict[str, Any]:
    datalist: dict[str, Any] = json.loads((out / "datalist.json").read_text())
    return datalist


def entries(datalist: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for split in SPLITS for entry in datalist[split]]


def split_of(datalist: dict[str, Any]) -> dict[str, str]:
    return {Path(entry["image"]).stem: split for split in SPLITS for entry in datalist[split]}


def index_with(source: Path, out: Path) -> dict[str, str]:
    """Index and return the reasons of what was refused, by file name."""
    return {Path(error.source).name: error.reason for error in index_dataset(source, out=out).refused}


# What is written


def test_every_pair_is_in_one_split_in_the_fractions_asked_for(source: Path, tmp_path: Path) -> None:
    report = index_dataset(source, out=tmp_path / "out", fractions=(0.6, 0.2, 0.2))
    assert report.splits == {"training": 6, "validation": 2, "test": 2}
    assert sorted(split_of(load(tmp_path / "out"))) == list("abcdefghij")


def test_an_entry_holds_paths_group_size_and_hashes(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path / "out")
    entry = next(entry for entry in entries(load(tmp_path / "out")) if entry["group"] == "a")
    assert entry["image"] == str(source / "images/a.png")
    assert entry["label"] == str(source / "masks/a.png")
    assert entry["size"] == list(MASK.shape)
    assert len(entry["image_sha256"]) == len(entry["label_sha256"]) == 64


def test_paths_below_the_data_set_are_relative(source: Path) -> None:
    index_dataset(source, out=source)
    assert {entry["image"] for entry in entries(load(source))} == {f"images/{name}.png" for name in "abcdefghij"}


def test_monai_reads_the_data_list_after_the_folder_was_moved(source: Path, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    index_dataset(source, out=source)
    moved = shutil.move(source, tmp_path / "moved")
    for split in SPLITS:
        items = load_decathlon_datalist(Path(moved) / "datalist.json", data_list_key=split)
        assert items
        assert all(Path(item["image"]).is_file() and Path(item["label"]).is_file() for item in items)


def test_monai_reads_several_masks_of_an_image_and_its_class(tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    for end, pixels in (("", picture(0)), ("_mask", MASK), ("_mask_1", np.zeros_like(MASK))):
        save(tmp_path / f"busi/benign/benign (1){end}.png", pixels)
    index_dataset(tmp_path / "busi", out=tmp_path)
    (item,) = load_decathlon_datalist(tmp_path / "datalist.json")
    assert [Path(label).name for label in item["label"]] == ["benign (1)_mask.png", "benign (1)_mask_1.png"]
    assert item["class"] == "benign"
    assert len(item["label_sha256"]) == 2


def test_a_data_set_folder_where_monai_would_take_a_class_for_a_path_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "benign/benign (1).png", picture(0))
    save(tmp_path / "benign/benign (1)_mask.png", MASK)
    with pytest.raises(InputError, match=r"'benign'.*choose another --out"):
        index_dataset(tmp_path, out=tmp_path)


def test_indexing_twice_writes_the_same_bytes(source: Path, tmp_path: Path) -> None:
    first = index_dataset(source, out=tmp_path / "out").path.read_bytes()
    assert index_dataset(source, out=tmp_path / "out").path.read_bytes() == first


def test_indexing_changes_nothing_in_the_source(source: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    index_dataset(source, out=tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_progress_counts_every_item(source: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    index_dataset(source, out=tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 10) for number in range(1, 11)]


# Splits that cannot leak


@pytest.mark.parametrize("seed", range(5))
def test_images_with_equal_pixels_share_group_and_split(tmp_path: Path, seed: int) -> None:
    source = make_paired(tmp_path / "source")
    save(source / "images/c.png", picture(0))
    save(source / "images/f.tif", picture(0))
    (source / "images/f.png").unlink()
    report = index_dataset(source, out=tmp_path / "out", fractions=(0.4, 0.3, 0.3), seed=seed)
    datalist = load(tmp_path / "out")
    assert report.duplicates == 2
    assert {entry["group"] for entry in entries(datalist) if Path(entry["image"]).stem in "acf"} == {"a"}
    assert len({split_of(datalist)[name] for name in "acf"}) == 1


def make_official(root: Path) -> Path:
    for seed, part in enumerate(("Training", "Validation", "Test")):
        for number in (2 * seed, 2 * seed + 1):
            save(root / f"ISIC2018_Task1-2_{part}_Input/ISIC_{number:07}.png", picture(number))
            save(root / f"ISIC2018_Task1_{part}_GroundTruth/ISIC_{number:07}_segmentation.png", MASK)
    return root


def test_a_complete_official_split_is_kept(tmp_path: Path) -> None:
    report = index_dataset(make_official(tmp_path / "isic"), out=tmp_path)
    datalist = load(tmp_path)
    assert report.splits == {"training": 2, "validation": 2, "test": 2}
    assert split_of(datalist)["ISIC_0000005"] == "test"
    assert datalist["official_split"] is True


def test_a_training_image_that_is_also_a_test_image_is_left_out(tmp_path: Path) -> None:
    source = make_official(tmp_path / "isic")
    save(source / "ISIC2018_Task1-2_Training_Input/ISIC_0000001.png", picture(5))
    refused = index_with(source, tmp_path)
    assert list(refused) == ["ISIC_0000001.png"]
    assert "duplicate: of the training split" in refused["ISIC_0000001.png"]
    assert split_of(load(tmp_path))["ISIC_0000005"] == "test"


# What is refused


def test_two_images_of_one_name_are_refused(source: Path, tmp_path: Path) -> None:
    save(source / "images/a.jpg", picture(99))
    assert set(index_with(source, tmp_path)) == {"a.jpg", "a.png"}


def test_sizes_that_differ_are_refused(source: Path, tmp_path: Path) -> None:
    save(source / "masks/a.png", MASK[:5, :6])
    assert index_with(source, tmp_path) == {"a.png": "image is 8x7, mask a.png is 6x5"}


def test_a_rotated_photo_whose_mask_lies_as_stored_is_refused(source: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(source / "images/a.png", picture(0), exif=exif)
    assert index_with(source, tmp_path) == {"a.png": "image is 7x8, mask a.png is 8x7"}


def test_a_rotated_photo_whose_mask_lies_as_shown_is_taken(source: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(source / "images/a.png", picture(0), exif=exif)
    save(source / "masks/a.png", MASK.T)
    assert not index_with(source, tmp_path)


BAD_MASKS = {
    "grey": (np.arange(MASK.size, dtype=np.uint8).reshape(MASK.shape), "grey values (0, 1, 2, 3, 4, ...)"),
    "colour": (picture(0), "mask has colours"),
    "transparent": (np.dstack([MASK] * 4), "mask has transparent pixels"),
}
BAD_IMAGES = {
    "transparent": (np.dstack([picture(0), MASK]), "image has transparent pixels"),
    "16-bit": (picture(0)[..., 0].astype(np.uint16), "more than 8 bits"),
}
BAD_BYTES = {
    "empty": (b"", "is empty"),
    "text": (b"this is no image", "is not a JPEG"),
    "truncated": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "cannot be decoded"),
}


@pytest.mark.parametrize(("pixels", "reason"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_a_bad_mask_is_refused_and_the_rest_goes_on(
    source: Path, tmp_path: Path, pixels: np.ndarray, reason: str
) -> None:
    save(source / "masks/a.png", pixels)
    refused = index_with(source, tmp_path)
    assert list(refused) == ["a.png"]
    assert reason in refused["a.png"]
    assert sorted(split_of(load(tmp_path))) == list("bcdefghij")


@pytest.mark.parametrize(("pixels", "reason"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_refused(source: Path, tmp_path: Path, pixels: np.ndarray, reason: str) -> None:
    save(source / "images/a.png", pixels)
    assert reason in index_with(source, tmp_path)["a.png"]


def test_a_cmyk_image_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "images/a.png").unlink()
    save(source / "images/a.jpg", Image.new("CMYK", (8, 7)))
    assert index_with(source, tmp_path) == {"a.jpg": "image has colour mode CMYK"}


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize(("content", "reason"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_a_broken_file_is_refused(source: Path, tmp_path: Path, folder: str, content: bytes, reason: str) -> None:
    (source / folder / "a.png").write_bytes(content)
    assert reason in index_with(source, tmp_path)["a.png"]


def test_palette_masks_and_opaque_alpha_are_taken(source: Path, tmp_path: Path) -> None:
    palette = Image.fromarray(MASK)
    palette.putpalette([255] * 3 + [0] * 765)
    save(source / "masks/a.png", palette)
    save(source / "images/b.png", np.dstack([picture(1), np.full_like(MASK, 255)]))
    assert not index_with(source, tmp_path)


def test_refusals_are_in_the_data_list_with_reason_and_remedy(source: Path, tmp_path: Path) -> None:
    (source / "masks/a.png").unlink()
    index_dataset(source, out=tmp_path)
    assert load(tmp_path)["refused"] == [
        {
            "file": "source/images/a.png",
            "reason": "image has no mask",
            "remedy": "add the mask, or remove the image",
        }
    ]


def test_nothing_usable_left_is_an_error_with_the_first_refusal_and_writes_nothing(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source", "a")
    (source / "masks/a.png").write_bytes(b"")
    with pytest.raises(DelineateError, match=r"no usable pair.*a\.png: is empty"):
        index_dataset(source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["isic", "busi"])
def test_a_folder_without_the_layout_named_is_refused(source: Path, tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match=f"does not have the layout {layout}; needed is"):
        index_dataset(source, layout, out=tmp_path)


def test_a_wrong_layout_name_is_answered_with_the_closest(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'paired'"):
        index_dataset(source, "pared", out=tmp_path)


def test_a_file_in_the_place_of_the_data_set_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="choose another --out"):
        index_dataset(source, out=tmp_path / "out")


# The hash of a data set


def test_the_hash_of_a_data_set_does_not_depend_on_where_it_lies(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path / "far")
    index_dataset(source, out=source)
    assert dataset_hash(load(tmp_path / "far")) == dataset_hash(load(source))


def test_the_hash_of_a_data_set_changes_with_a_mask(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path)
    before = dataset_hash(load(tmp_path))
    save(source / "masks/a.png", np.zeros_like(MASK))
    index_dataset(source, out=tmp_path)
    assert dataset_hash(load(tmp_path)) != before


def test_the_hash_of_a_data_set_changes_with_its_split(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path)
    datalist = load(tmp_path)
    before = dataset_hash(datalist)
    datalist["test"].append(datalist["training"].pop())
    assert dataset_hash(datalist) != before


# Real data


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {name} in ../shared/data")
    return SHARED / name


def test_the_real_busi_is_indexed_whole(tmp_path: Path) -> None:
    report = index_dataset(real("Dataset_BUSI_with_GT"), out=tmp_path)
    assert report.classes == {"benign": 355, "malignant": 178, "normal": 52}
    assert sum(report.splits.values()) == 585
    assert (report.duplicates, report.refused) == (1, [])
    split = split_of(load(tmp_path))
    assert split["benign (433)"] == split["malignant (145)"]


@pytest.mark.parametrize(("name", "number"), [("ISIC2018", 1100), ("ISIC2017", 54), ("HAM10000", 8)])
def test_real_dermoscopy_is_indexed_whole(tmp_path: Path, name: str, number: int) -> None:
    report = index_dataset(real(name), out=tmp_path)
    assert sum(report.splits.values()) == number
    assert not report.refused


@pytest.mark.parametrize(
    ("name", "reason"), [("ultrasound-nerve-jpg", "mask has grey values"), ("usgra-seg", "mask has colours")]
)
def test_real_masks_that_are_not_binary_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(DelineateError, match=reason):
        index_dataset(real(name), out=tmp_path)
