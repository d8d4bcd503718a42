from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_lists import dataset_hash
from paired_pictures import MASK, entries, index_with, load, make_paired, picture, save, split_of
from PIL import ExifTags, Image
from shared_data import SHARED

from delineate.pipelines.audit.dataset import audit_dataset
from delineate.pipelines.core.errors import DelineateError, InputError, SkippedError, UnknownNameError
from delineate.pipelines.datasets.index import IndexReport, index_dataset
from delineate.pipelines.datasets.splitting.splits import SPLITS
from delineate.pipelines.loading.datasets import load_datalist
from delineate.pipelines.loading.transforms import ReadMaskd

# What is written


def test_every_pair_is_in_one_split_in_the_fractions_asked_for(paired_source: Path, tmp_path: Path) -> None:
    report = index_dataset(paired_source, out=tmp_path / "out", fractions=(0.6, 0.2, 0.2))
    assert report.splits == {"training": 6, "validation": 2, "test": 2}
    assert sorted(split_of(load(tmp_path / "out"))) == list("abcdefghij")


def test_an_entry_holds_paths_group_size_and_hashes(paired_source: Path, tmp_path: Path) -> None:
    index_dataset(paired_source, out=tmp_path / "out")
    entry = next(entry for entry in entries(load(tmp_path / "out")) if entry["group"] == "a")
    assert entry["image"] == str(paired_source / "images/a.png")
    assert entry["label"] == str(paired_source / "masks/a.png")
    assert entry["size"] == list(MASK.shape)
    assert len(entry["image_sha256"]) == len(entry["label_sha256"]) == len(entry["pixels_sha256"]) == 64
    assert entry["area"] == round(12 / 56, 6)


def test_paths_below_the_data_set_are_relative(paired_source: Path) -> None:
    index_dataset(paired_source, out=paired_source)
    assert {entry["image"] for entry in entries(load(paired_source))} == {f"images/{name}.png" for name in "abcdefghij"}


def test_monai_reads_the_data_list_after_the_folder_was_moved(paired_source: Path, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    index_dataset(paired_source, out=paired_source)
    moved = shutil.move(paired_source, tmp_path / "moved")
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


def test_indexing_twice_writes_the_same_bytes(paired_source: Path, tmp_path: Path) -> None:
    first = index_dataset(paired_source, out=tmp_path / "out").path.read_bytes()
    assert index_dataset(paired_source, out=tmp_path / "out").path.read_bytes() == first


def test_indexing_changes_nothing_in_the_source(paired_source: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in paired_source.rglob("*")}
    index_dataset(paired_source, out=tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in paired_source.rglob("*")} == before


def test_progress_counts_every_item(paired_source: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    index_dataset(paired_source, out=tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(number, 10) for number in range(1, 11)]


# What is refused


def test_two_images_of_one_name_are_refused(paired_source: Path, tmp_path: Path) -> None:
    save(paired_source / "images/a.jpg", picture(99))
    assert set(index_with(paired_source, tmp_path)) == {"a.jpg", "a.png"}


def test_sizes_that_differ_are_refused(paired_source: Path, tmp_path: Path) -> None:
    save(paired_source / "masks/a.png", MASK[:5, :6])
    assert index_with(paired_source, tmp_path) == {"a.png": "image is 8x7, mask a.png is 6x5"}


def test_a_rotated_photo_whose_mask_lies_as_stored_is_refused(paired_source: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(paired_source / "images/a.png", picture(0), exif=exif)
    assert index_with(paired_source, tmp_path) == {
        "a.png": "image is 7x8 as its EXIF orientation turns it, mask a.png is 8x7"
    }


def test_a_rotated_photo_whose_mask_lies_as_shown_is_taken(paired_source: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(paired_source / "images/a.png", picture(0), exif=exif)
    save(paired_source / "masks/a.png", MASK.T)
    assert not index_with(paired_source, tmp_path)


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
    paired_source: Path, tmp_path: Path, pixels: np.ndarray, reason: str
) -> None:
    save(paired_source / "masks/a.png", pixels)
    refused = index_with(paired_source, tmp_path)
    assert list(refused) == ["a.png"]
    assert reason in refused["a.png"]
    assert sorted(split_of(load(tmp_path))) == list("bcdefghij")


@pytest.mark.parametrize(("pixels", "reason"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_a_bad_image_is_refused(paired_source: Path, tmp_path: Path, pixels: np.ndarray, reason: str) -> None:
    save(paired_source / "images/a.png", pixels)
    assert reason in index_with(paired_source, tmp_path)["a.png"]


def test_a_cmyk_image_is_refused(paired_source: Path, tmp_path: Path) -> None:
    (paired_source / "images/a.png").unlink()
    save(paired_source / "images/a.jpg", Image.new("CMYK", (8, 7)))
    assert index_with(paired_source, tmp_path) == {"a.jpg": "image has colour mode CMYK"}


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize(("content", "reason"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_a_broken_file_is_refused(
    paired_source: Path, tmp_path: Path, folder: str, content: bytes, reason: str
) -> None:
    (paired_source / folder / "a.png").write_bytes(content)
    assert reason in index_with(paired_source, tmp_path)["a.png"]


def test_palette_masks_and_opaque_alpha_are_taken(paired_source: Path, tmp_path: Path) -> None:
    palette = Image.fromarray(MASK)
    palette.putpalette([255] * 3 + [0] * 765)
    save(paired_source / "masks/a.png", palette)
    save(paired_source / "images/b.png", np.dstack([picture(1), np.full_like(MASK, 255)]))
    assert not index_with(paired_source, tmp_path)


def test_refusals_are_in_the_data_list_with_reason_and_remedy(paired_source: Path, tmp_path: Path) -> None:
    (paired_source / "masks/a.png").unlink()
    index_dataset(paired_source, out=tmp_path)
    assert load(tmp_path)["refused"] == [
        {
            "file": "source/images/a.png",
            "reason": "image has no mask",
            "remedy": "add the mask, or remove the image",
        }
    ]


def test_where_nothing_is_left_for_several_reasons_each_is_counted(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source", "abc")
    for name in "ab":
        (source / f"images/{name}.png").write_bytes(b"")
    save(source / "masks/c.png", picture(0))
    with pytest.raises(DelineateError, match=r"the first of 3 refusals: .*\(in all: 2 is empty \(0 bytes\); 1 mask "):
        index_dataset(source, out=tmp_path / "out")


def test_nothing_usable_left_is_an_error_with_the_first_refusal_and_writes_nothing(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source", "a")
    (source / "masks/a.png").write_bytes(b"")
    with pytest.raises(DelineateError, match=r"no usable image.*a\.png: is empty"):
        index_dataset(source, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["isic", "busi"])
def test_a_folder_without_the_layout_named_is_refused(paired_source: Path, tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match=f"does not have the layout {layout}; needed is"):
        index_dataset(paired_source, layout, out=tmp_path)


def test_a_wrong_layout_name_is_answered_with_the_closest(paired_source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'paired'"):
        index_dataset(paired_source, "pared", out=tmp_path)


def test_a_file_in_the_place_of_the_data_set_is_refused(paired_source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match="choose another --out"):
        index_dataset(paired_source, out=tmp_path / "out")


def test_the_hash_of_a_data_set_changes_with_a_mask(paired_source: Path, tmp_path: Path) -> None:
    index_dataset(paired_source, out=tmp_path)
    before = dataset_hash(load(tmp_path))
    save(paired_source / "masks/a.png", np.zeros_like(MASK))
    index_dataset(paired_source, out=tmp_path)
    assert dataset_hash(load(tmp_path)) != before


# Masks that need to be told how to be read


def areas(out: Path) -> dict[str, float]:
    return {Path(entry["image"]).stem: entry["area"] for entry in entries(load(out))}


def read_labels(out: Path) -> dict[str, np.ndarray]:
    """The mask of each item as training reads it."""
    read = ReadMaskd("label")
    items = [item for split in SPLITS for item in load_datalist(out, split)]
    return {Path(item["image"]).stem: read(item)["label"][0].numpy() for item in items}


def large(root: Path, mask: np.ndarray, names: str = "abcdef", **options: Any) -> Path:
    """Pictures of 40x48 with one mask for all, named ``.png`` whatever it is."""
    for seed, name in enumerate(names):
        save(root / f"images/{name}.png", np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8))
        save(root / f"masks/{name}.png", mask, **options)
    return root


DISK = (((np.mgrid[-20:20, -24:24] / 12) ** 2).sum(0) < 1).astype(np.uint8)


def test_jpeg_masks_are_declared_reported_and_read_alike_by_training(tmp_path: Path) -> None:
    large(tmp_path / "source", DISK * 255, format="JPEG")
    save(tmp_path / "source/masks/a.png", DISK * 255)
    report = index_dataset(tmp_path / "source", out=tmp_path / "out")
    assert not report.refused
    assert "5 JPEG masks black and white but for compression: cut at 128" in report.notes
    assert load(tmp_path / "out")["notes"] == report.notes
    declared = {Path(entry["image"]).stem: entry.get("label_is") for entry in entries(load(tmp_path / "out"))}
    assert declared == {"a": None} | dict.fromkeys("bcdef", "jpeg")
    for mask in read_labels(tmp_path / "out").values():
        assert (mask != DISK).mean() < 0.01


def test_a_jpeg_that_is_no_mask_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    source = large(tmp_path / "source", DISK * 255, format="JPEG")
    save(source / "masks/a.png", np.tile(np.arange(48, dtype=np.uint8) * 5, (40, 1)), format="JPEG")
    assert "more grey" in index_with(source, tmp_path / "out")["a.png"]
    assert sorted(split_of(load(tmp_path / "out"))) == list("bcdef")


@pytest.mark.parametrize("labels", [[1], [2], [1, 2]])
def test_label_values_choose_the_foreground_for_index_and_training(tmp_path: Path, labels: list[int]) -> None:
    classes = DISK + np.roll(DISK, 9, axis=1)
    palette = Image.fromarray(classes)
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    index_dataset(large(tmp_path / "source", palette), out=tmp_path / "out", labels=labels)
    assert set(areas(tmp_path / "out").values()) == {round(float(np.isin(classes, labels).mean()), 6)}
    for mask in read_labels(tmp_path / "out").values():
        np.testing.assert_array_equal(mask, np.isin(classes, labels))


def test_label_values_are_part_of_the_hash_of_a_data_set(tmp_path: Path) -> None:
    source = large(tmp_path / "source", DISK + np.roll(DISK, 9, axis=1))
    hashes = set()
    for value in (1, 2):
        index_dataset(source, out=tmp_path / "out", labels=[value])
        hashes.add(dataset_hash(load(tmp_path / "out")))
    assert len(hashes) == 2


def test_label_values_that_no_mask_has_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="no label has the values 7"):
        index_dataset(large(tmp_path / "source", DISK), out=tmp_path / "out", labels=[7])


def test_masks_of_another_size_are_resized_where_asked_and_recorded(tmp_path: Path) -> None:
    source = large(tmp_path / "source", DISK)
    save(source / "masks/a.png", DISK.repeat(2, 0).repeat(2, 1) * 255)
    assert "--resize-masks" in index_dataset(source, out=tmp_path / "out").refused[0].remedy
    report = index_dataset(source, out=tmp_path / "out", resize_masks=True)
    assert not report.refused
    assert "1 mask of another size, resized to the size of the image by the nearest pixel" in report.notes
    assert {entry["label_size"][0] for entry in entries(load(tmp_path / "out")) if "label_size" in entry} == {40}
    for mask in read_labels(tmp_path / "out").values():
        np.testing.assert_array_equal(mask, DISK)


def test_a_mask_of_other_proportions_is_refused_even_where_resizing_is_asked_for(tmp_path: Path) -> None:
    source = large(tmp_path / "source", DISK)
    save(source / "masks/a.png", DISK[:, 4:-4])
    (refused,) = index_dataset(source, out=tmp_path / "out", resize_masks=True).refused
    assert "of other proportions" in refused.reason
    assert "--resize-masks" not in index_dataset(source, out=tmp_path / "out").refused[0].remedy


@pytest.mark.parametrize("jpeg", [False, True])
def test_an_audit_reads_masks_as_index_does(tmp_path: Path, jpeg: bool) -> None:
    mask = DISK.repeat(2, 0).repeat(2, 1) * 255
    index_dataset(
        large(tmp_path / "source", mask, format="JPEG" if jpeg else "PNG"), out=tmp_path / "out", resize_masks=True
    )
    assert not [one for one in audit_dataset(tmp_path / "out").findings if "unreadable" in one.id or one.kind == "mask"]


# Real data


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {name} in ../shared/data")
    return SHARED / name


@pytest.fixture(scope="module")
def dermoscopy(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[IndexReport, Path]]:
    """A set of a few large photos, indexed once: what was found, and the data set's folder."""

    @cache
    def indexed(name: str) -> tuple[IndexReport, Path]:
        out = tmp_path_factory.mktemp(name)
        return index_dataset(real(name), out=out), out

    return indexed


def test_the_real_busi_is_indexed_whole(tmp_path: Path) -> None:
    report = index_dataset(real("Dataset_BUSI_with_GT"), out=tmp_path, near_duplicates=False)
    assert report.classes == {"benign": 355, "malignant": 178, "normal": 52}
    assert sum(report.splits.values()) == 585
    assert (report.duplicates, report.refused) == (1, [])
    split = split_of(load(tmp_path))
    assert split["benign (433)"] == split["malignant (145)"]


def test_many_real_small_photos_are_indexed_whole(tmp_path: Path) -> None:
    report = index_dataset(real("ISIC2018_fullframe_256x192"), out=tmp_path, near_duplicates=False)
    assert sum(report.splits.values()) == 140
    assert not report.refused


@pytest.mark.parametrize(("name", "number"), [("ISIC2017", 54), ("HAM10000", 8)])
def test_real_dermoscopy_is_indexed_whole(
    dermoscopy: Callable[[str], tuple[IndexReport, Path]], name: str, number: int
) -> None:
    report, _ = dermoscopy(name)
    assert sum(report.splits.values()) == number
    assert not report.refused


def test_a_real_palette_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"mask has colours.*palette indices .* of \(0, 1, 2\): --labels"):
        index_dataset(real("usgra-seg"), out=tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Kvasir-SEG", {}),
        ("BUSBRA", {}),
        ("ultrasound-nerve-jpg", {}),
        ("usgra-seg", {"labels": [1, 2]}),
    ],
)
def test_real_areas_are_those_that_were_counted_independently(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    report = index_dataset(real(name), out=tmp_path, near_duplicates=False, **options)
    assert_counted(name, report, tmp_path)


@pytest.mark.parametrize("name", ["ISIC2017", "HAM10000"])
def test_real_areas_of_dermoscopy_are_those_that_were_counted_independently(
    dermoscopy: Callable[[str], tuple[IndexReport, Path]], name: str
) -> None:
    assert_counted(name, *dermoscopy(name))


def assert_counted(name: str, report: IndexReport, out: Path) -> None:
    with (SHARED / "manifest.csv").open(encoding="utf-8", newline="") as file:
        counted = {row["image"]: row["mask_foreground_fraction"] for row in csv.DictReader(file)}
    assert not [error for error in report.refused if not isinstance(error, SkippedError)]
    root = SHARED.resolve()
    found = {Path(entry["image"]).resolve().relative_to(root).as_posix(): entry for entry in entries(load(out))}
    for image, entry in found.items():
        assert entry["area"] == pytest.approx(float(counted[image]), abs=1e-3), image
    assert len(found) == sum(image.startswith(f"{name}/") for image in counted)


def test_classes_of_a_layout_that_has_none_are_refused_with_what_to_do(paired_source: Path, tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="no image has a class here; leave it out"):
        index_dataset(paired_source, out=tmp_path / "out", classes=["benign"])


def test_the_data_list_of_another_source_is_not_replaced(paired_source: Path, tmp_path: Path) -> None:
    other = shutil.copytree(paired_source, tmp_path / "other")
    index_dataset(other, out=tmp_path / "out")
    with pytest.raises(InputError, match=r"already holds the data set of .*other; choose another --out"):
        index_dataset(paired_source, out=tmp_path / "out")


def test_a_source_that_was_moved_is_indexed_into_the_same_folder(paired_source: Path, tmp_path: Path) -> None:
    index_dataset(paired_source, out=tmp_path / "out")
    moved = paired_source.rename(tmp_path / "moved")
    assert not index_dataset(moved, out=tmp_path / "out").moved


def test_splits_with_few_groups_to_judge_by_are_named(paired_source: Path, tmp_path: Path) -> None:
    report = index_dataset(paired_source, out=tmp_path / "out", fractions=(0.6, 0.2, 0.2))
    assert report.few == {"validation": 2, "test": 2}
    assert index_dataset(paired_source, out=tmp_path / "half", fractions=(0.5, 0, 0.5)).few == {}
    assert index_dataset(paired_source, out=tmp_path / "folds", fractions=(1, 0, 0), folds=2).few == {}


def upside_down(path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    save(path, pixels, exif=exif)


def test_an_image_upside_down_whose_mask_fits_either_way_is_named(tmp_path: Path) -> None:
    large(tmp_path / "source", DISK * 255)
    upside_down(tmp_path / "source/images/b.png", np.stack([DISK * 90] * 3, -1))
    report = index_dataset(tmp_path / "source", out=tmp_path / "out")
    (note,) = [note for note in report.notes if "EXIF" in note]
    assert note.startswith(
        "1 image turned by the EXIF orientation, whose masks are taken as drawn on what viewers show"
    )
    assert note.endswith(": b.png")


def test_where_mask_and_image_are_turned_alike_nothing_is_said(tmp_path: Path) -> None:
    large(tmp_path / "source", DISK * 255)
    upside_down(tmp_path / "source/images/b.png", np.stack([DISK * 90] * 3, -1))
    upside_down(tmp_path / "source/masks/b.png", DISK * 255)
    assert not [note for note in index_dataset(tmp_path / "source", out=tmp_path / "out").notes if "EXIF" in note]


@pytest.mark.parametrize(("inverted", "said"), [(6, True), (4, True), (3, False), (0, False)])
def test_masks_most_of_which_seem_inverted_are_questioned(tmp_path: Path, inverted: int, said: bool) -> None:
    large(tmp_path / "source", DISK * 255)
    for name in "abcdef"[:inverted]:
        save(tmp_path / f"source/masks/{name}.png", 255 - DISK * 255)
    report = index_dataset(tmp_path / "source", out=tmp_path / "out")
    assert any(note.startswith(f"{inverted} of 6 masks cover most") for note in report.notes) is said
