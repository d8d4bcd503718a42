from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from delineate.pipelines.data.datalist import dataset_hash, placed, straddling
from delineate.pipelines.data.groups import Move
from delineate.pipelines.data.index import index_dataset
from delineate.pipelines.data.layouts import Item
from delineate.pipelines.data.splits import SPLITS
from delineate.pipelines.errors import DelineateError, InputError, UnknownNameError
from delineate.pipelines.volumes.slicing import Slicing

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


def place_of(datalist: dict[str, Any]) -> dict[str, str]:
    return {Path(entry["image"]).stem: str(place) for place, entry in placed(datalist)}


def make_photos(root: Path, names: Sequence[str]) -> None:
    """Pictures with something to recognise, and their masks."""
    for seed, name in enumerate(names):
        shapes = gaussian_filter(np.random.default_rng(seed).normal(size=(120, 120, 3)), (3, 3, 0))
        save(root / f"images/{name}.png", (128 + 40 * shapes / shapes.std()).clip(0, 255).astype(np.uint8))
        save(root / f"masks/{name}.png", np.pad(np.full((40, 40), 255, np.uint8), 40))


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
    assert len(entry["image_sha256"]) == len(entry["label_sha256"]) == len(entry["pixels_sha256"]) == 64
    assert entry["area"] == round(12 / 56, 6)


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


@pytest.mark.parametrize("seed", range(5))
def test_images_that_look_alike_share_group_and_split(tmp_path: Path, seed: int) -> None:
    source = make_paired(tmp_path / "source")
    make_photos(source, ["k", "l"])
    brighter = np.asarray(Image.open(source / "images/k.png")) // 2 + 90
    save(source / "images/m.png", brighter.astype(np.uint8))
    shutil.copy(source / "masks/k.png", source / "masks/m.png")
    report = index_dataset(source, out=tmp_path / "out", fractions=(0.4, 0.3, 0.3), seed=seed)
    datalist = load(tmp_path / "out")
    assert split_of(datalist)["k"] == split_of(datalist)["m"]
    assert (report.duplicates, report.near_duplicates) == (0, 1)
    assert datalist["duplicates"] == [{"items": [str(source / f"images/{name}.png") for name in "km"], "exact": False}]


def test_what_looks_alike_is_not_sought_where_that_is_not_wanted(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source")
    make_photos(source, ["k", "l"])
    shutil.copy(source / "images/k.png", source / "images/a.png")
    shutil.copy(source / "masks/k.png", source / "masks/a.png")
    report = index_dataset(source, out=tmp_path / "out", near_duplicates=False)
    assert (report.duplicates, report.near_duplicates) == (1, 0)


def test_blank_images_are_no_duplicates_of_each_other(source: Path, tmp_path: Path) -> None:
    for name, options in (("a", {"optimize": True}), ("b", {"compress_level": 0})):
        save(source / f"images/{name}.png", np.zeros((*MASK.shape, 3), np.uint8), **options)
    assert index_dataset(source, out=tmp_path).duplicates == 0
    assert len({entry["group"] for entry in entries(load(tmp_path))}) == 10


def test_an_official_split_without_validation_gets_one_from_its_training_set(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source")
    rows = [f"images/{name}.png,masks/{name}.png,{'test' if name in 'abc' else 'train'}" for name in "abcdefghij"]
    (source / "table.csv").write_text("\n".join(["image,label,split", *rows]))
    report = index_dataset(source, out=tmp_path, fractions=(0.5, 0.25, 0.25))
    assert report.splits == {"training": 5, "validation": 2, "test": 3}
    assert {name for name, split in split_of(load(tmp_path)).items() if split == "test"} == set("abc")


# Folds


def test_folds_stand_under_training_beside_an_empty_validation(source: Path, tmp_path: Path) -> None:
    report = index_dataset(source, out=tmp_path, fractions=(0.8, 0, 0.2), folds=4)
    datalist = load(tmp_path)
    assert report.splits == {"fold 0": 2, "fold 1": 2, "fold 2": 2, "fold 3": 2, "test": 2}
    assert sorted(entry["fold"] for entry in datalist["training"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert datalist["validation"] == []
    assert not any("fold" in entry for entry in datalist["test"])


def test_folds_of_an_official_split_leave_its_test_set_alone(tmp_path: Path) -> None:
    report = index_dataset(make_official(tmp_path / "isic"), out=tmp_path, folds=2)
    assert report.splits == {"fold 0": 2, "fold 1": 2, "test": 2}
    assert {entry["group"] for entry in load(tmp_path)["test"]} == {"ISIC_0000004", "ISIC_0000005"}


def test_to_folds_an_image_of_official_training_and_validation_is_no_leak(tmp_path: Path) -> None:
    source = make_official(tmp_path / "isic")
    shutil.copy(
        source / "ISIC2018_Task1-2_Training_Input/ISIC_0000000.png",
        source / "ISIC2018_Task1-2_Validation_Input/ISIC_0000002.png",
    )
    assert not index_dataset(source, out=tmp_path, folds=2).refused
    assert not straddling(load(tmp_path))


# Indexing again


@pytest.mark.parametrize("folds", [None, 3])
def test_images_that_are_added_move_no_other(source: Path, tmp_path: Path, folds: int | None) -> None:
    index_dataset(source, out=tmp_path / "out", folds=folds)
    before = place_of(load(tmp_path / "out"))
    for seed, name in enumerate(["0", "dd", "zz", "y"], start=100):
        save(source / f"images/{name}.png", picture(seed))
        save(source / f"masks/{name}.png", np.full_like(MASK, 255) if seed % 2 else MASK)
    report = index_dataset(source, out=tmp_path / "out", folds=folds)
    after = place_of(load(tmp_path / "out"))
    assert report.moved == []
    assert {name: after[name] for name in before} == before
    assert len(after) == 14


def test_an_image_is_recognised_under_another_name(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path / "out")
    before = split_of(load(tmp_path / "out"))
    for folder in ("images", "masks"):
        for file in sorted((source / folder).iterdir()):
            file.rename(file.with_stem(f"patient_{file.stem}"))
    index_dataset(source, out=tmp_path / "out")
    after = split_of(load(tmp_path / "out"))
    assert {name.removeprefix("patient_"): split for name, split in after.items()} == before


def test_groups_that_turn_out_to_share_an_image_go_to_test_and_are_reported(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path / "out")
    before = split_of(load(tmp_path / "out"))
    trained = next(name for name in sorted(before) if before[name] == "training")
    tested = next(name for name in sorted(before) if before[name] == "test")
    shutil.copy(source / f"images/{tested}.png", source / f"images/{trained}.png")
    report = index_dataset(source, out=tmp_path / "out")
    after = split_of(load(tmp_path / "out"))
    assert report.moved == [Move(min(trained, tested), ["test", "training"], "test")]
    assert after == before | {trained: "test"}


def test_another_seed_deals_anew(source: Path, tmp_path: Path) -> None:
    splits = set()
    for seed in (0, 1, 0):
        index_dataset(source, out=tmp_path / "out", seed=seed)
        splits.add(tuple(split_of(load(tmp_path / "out")).items()))
    assert len(splits) == 2


def test_a_data_list_that_cannot_be_read_is_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": [')
    with pytest.raises(InputError, match="is no data list"):
        index_dataset(source, out=tmp_path)
    assert (tmp_path / "datalist.json").read_text() == '{"training": ['


# Unlabelled images and volumes


def test_images_without_label_stand_in_no_split(source: Path, tmp_path: Path) -> None:
    rows = [f"images/{name}.png,{'' if name in 'ab' else f'masks/{name}.png'}" for name in "abcdefghij"]
    (source / "table.csv").write_text("\n".join(["image,label", *rows]))
    report = index_dataset(source, out=tmp_path)
    unlabelled = load(tmp_path)["unlabelled"]
    assert (report.unlabelled, sum(report.splits.values())) == (2, 8)
    assert [Path(entry["image"]).stem for entry in unlabelled] == ["a", "b"]
    assert not any({"label", "label_sha256", "area"} & entry.keys() for entry in unlabelled)


def test_a_broken_image_without_label_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "images/a.png").write_bytes(b"")
    (source / "table.csv").write_text("image,label\nimages/a.png,\nimages/b.png,masks/b.png")
    assert index_with(source, tmp_path) == {"a.png": "is empty (0 bytes)"}


def stand_in(volumes: dict[str, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> None:
    """For pictures taken as volumes: one item for each slice, and a reader of them."""

    def read(entry: dict[str, Any], slicing: Slicing) -> np.ndarray:
        return volumes[Path(entry["image"]).stem][entry["slice"]]

    def cut(items: list[Item], *_: object) -> tuple[list[Item], list[InputError]]:
        slices = [
            replace(item, fields={**item.fields, "slice": number})
            for item in items
            for number in range(len(volumes[item.image.stem]))
        ]
        return slices, []

    monkeypatch.setattr("delineate.pipelines.data.index.read_picture", read)
    monkeypatch.setattr("delineate.pipelines.data.index.cut", cut)


def test_all_slices_of_a_volume_stand_in_one_split(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = {name: [picture(seed), picture(seed), picture(1000 + seed)] for seed, name in enumerate("abcdefghij")}
    stand_in(volumes, monkeypatch)
    report = index_dataset(source, out=tmp_path, slicing=Slicing("axial"))
    datalist = load(tmp_path)
    assert sum(report.splits.values()) == 30
    assert (report.duplicates, datalist["duplicates"]) == (0, [])
    assert datalist["slicing"]["axis"] == "axial"
    assert not straddling(datalist)


def test_volumes_that_share_a_slice_are_joined_those_that_share_blank_ones_are_not(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = np.zeros_like(picture(0))
    volumes = {name: [blank, picture(seed), blank] for seed, name in enumerate("abcdefghij")}
    volumes["c"][1] = volumes["h"][1]
    stand_in(volumes, monkeypatch)
    index_dataset(source, out=tmp_path, slicing=Slicing("axial"))
    datalist = load(tmp_path)
    assert datalist["duplicates"] == [{"items": ["source/images/c.png", "source/images/h.png"], "exact": True}]
    assert len({entry["group"] for entry in entries(datalist)}) == 9


def test_a_volume_is_hashed_at_most_once_by_each_worker(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr("delineate.pipelines.data.index.file_hash", lambda path: hashed.append(path) or path.name)
    volumes = {name: [picture(10 * seed + n) for n in range(6)] for seed, name in enumerate("abcdefghij")}
    stand_in(volumes, monkeypatch)
    index_dataset(source, out=tmp_path, slicing=Slicing("axial"))
    assert max(Counter(hashed).values()) <= 2


def test_modalities_are_a_list_of_images_and_of_hashes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_second(items: list[Item], *_: object) -> tuple[list[Item], list[InputError]]:
        return [replace(item, modalities=(item.label[0],)) for item in items], []

    monkeypatch.setattr(
        "delineate.pipelines.data.index.read_picture", lambda entry, *_: np.asarray(Image.open(entry["image"][0]))
    )
    monkeypatch.setattr("delineate.pipelines.data.index.cut", with_second)
    index_dataset(source, out=source, slicing=Slicing("axial"))
    entry = next(entry for entry in entries(load(source)) if entry["image"][0] == "images/a.png")
    assert entry["image"] == ["images/a.png", "masks/a.png"]
    assert entry["image_sha256"][1] == entry["label_sha256"]


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
    with pytest.raises(DelineateError, match=r"no usable image.*a\.png: is empty"):
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


def test_the_hash_of_a_data_set_changes_with_a_mask(source: Path, tmp_path: Path) -> None:
    index_dataset(source, out=tmp_path)
    before = dataset_hash(load(tmp_path))
    save(source / "masks/a.png", np.zeros_like(MASK))
    index_dataset(source, out=tmp_path)
    assert dataset_hash(load(tmp_path)) != before


# Real data


def real(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {name} in ../shared/data")
    return SHARED / name


def test_the_real_busi_is_indexed_whole(tmp_path: Path) -> None:
    report = index_dataset(real("Dataset_BUSI_with_GT"), out=tmp_path, near_duplicates=False)
    assert report.classes == {"benign": 355, "malignant": 178, "normal": 52}
    assert sum(report.splits.values()) == 585
    assert (report.duplicates, report.refused) == (1, [])
    split = split_of(load(tmp_path))
    assert split["benign (433)"] == split["malignant (145)"]


@pytest.mark.parametrize(("name", "number"), [("ISIC2018_fullframe_256x192", 140), ("ISIC2017", 54), ("HAM10000", 8)])
def test_real_dermoscopy_is_indexed_whole(tmp_path: Path, name: str, number: int) -> None:
    report = index_dataset(real(name), out=tmp_path, near_duplicates=number < 100)
    assert sum(report.splits.values()) == number
    assert not report.refused


@pytest.mark.parametrize(
    ("name", "reason"), [("ultrasound-nerve-jpg", "mask has grey values"), ("usgra-seg", "mask has colours")]
)
def test_real_masks_that_are_not_binary_are_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(DelineateError, match=reason):
        index_dataset(real(name), out=tmp_path)
