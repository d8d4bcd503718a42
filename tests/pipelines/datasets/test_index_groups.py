from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_lists import placed, straddling
from paired_pictures import MASK, entries, index_with, load, make_paired, picture, save, split_of
from PIL import Image
from scipy.ndimage import gaussian_filter

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.datasets.groups import Move
from delineate.pipelines.datasets.index import index_dataset
from delineate.pipelines.datasets.splitting.splits import SPLITS
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.volumes.slicing import Slicing


def place_of(datalist: dict[str, Any]) -> dict[str, str]:
    return {Path(entry["image"]).stem: str(place) for place, entry in placed(datalist)}


def make_photos(root: Path, names: Sequence[str]) -> None:
    """Pictures with something to recognise, and their masks."""
    for seed, name in enumerate(names):
        shapes = gaussian_filter(np.random.default_rng(seed).normal(size=(120, 120, 3)), (3, 3, 0))
        save(root / f"images/{name}.png", (128 + 40 * shapes / shapes.std()).clip(0, 255).astype(np.uint8))
        save(root / f"masks/{name}.png", np.pad(np.full((40, 40), 255, np.uint8), 40))


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
    assert "is of the official training split, but its group" in refused["ISIC_0000001.png"]
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


def test_blank_images_are_no_duplicates_of_each_other(paired_source: Path, tmp_path: Path) -> None:
    for name, options in (("a", {"optimize": True}), ("b", {"compress_level": 0})):
        save(paired_source / f"images/{name}.png", np.zeros((*MASK.shape, 3), np.uint8), **options)
    assert index_dataset(paired_source, out=tmp_path).duplicates == 0
    assert len({entry["group"] for entry in entries(load(tmp_path))}) == 10


def test_an_official_split_without_validation_gets_one_from_its_training_set(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source")
    rows = [f"images/{name}.png,masks/{name}.png,{'test' if name in 'abc' else 'train'}" for name in "abcdefghij"]
    (source / "table.csv").write_text("\n".join(["image,label,split", *rows]))
    report = index_dataset(source, out=tmp_path, fractions=(0.5, 0.25, 0.25))
    assert report.splits == {"training": 5, "validation": 2, "test": 3}
    assert {name for name, split in split_of(load(tmp_path)).items() if split == "test"} == set("abc")


# Folds


def test_folds_stand_under_training_beside_an_empty_validation(paired_source: Path, tmp_path: Path) -> None:
    report = index_dataset(paired_source, out=tmp_path, fractions=(0.8, 0, 0.2), folds=4)
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
def test_images_that_are_added_move_no_other(paired_source: Path, tmp_path: Path, folds: int | None) -> None:
    index_dataset(paired_source, out=tmp_path / "out", folds=folds)
    before = place_of(load(tmp_path / "out"))
    for seed, name in enumerate(["0", "dd", "zz", "y"], start=100):
        save(paired_source / f"images/{name}.png", picture(seed))
        save(paired_source / f"masks/{name}.png", np.full_like(MASK, 255) if seed % 2 else MASK)
    report = index_dataset(paired_source, out=tmp_path / "out", folds=folds)
    after = place_of(load(tmp_path / "out"))
    assert report.moved == []
    assert {name: after[name] for name in before} == before
    assert len(after) == 14


def test_an_image_is_recognised_under_another_name(paired_source: Path, tmp_path: Path) -> None:
    index_dataset(paired_source, out=tmp_path / "out")
    before = split_of(load(tmp_path / "out"))
    for folder in ("images", "masks"):
        for file in sorted((paired_source / folder).iterdir()):
            file.rename(file.with_stem(f"patient_{file.stem}"))
    index_dataset(paired_source, out=tmp_path / "out")
    after = split_of(load(tmp_path / "out"))
    assert {name.removeprefix("patient_"): split for name, split in after.items()} == before


def test_groups_that_turn_out_to_share_an_image_go_to_test_and_are_reported(
    paired_source: Path, tmp_path: Path
) -> None:
    index_dataset(paired_source, out=tmp_path / "out")
    before = split_of(load(tmp_path / "out"))
    trained = next(name for name in sorted(before) if before[name] == "training")
    tested = next(name for name in sorted(before) if before[name] == "test")
    shutil.copy(paired_source / f"images/{tested}.png", paired_source / f"images/{trained}.png")
    report = index_dataset(paired_source, out=tmp_path / "out")
    after = split_of(load(tmp_path / "out"))
    assert report.moved == [Move(min(trained, tested), ["test", "training"], "test")]
    assert after == before | {trained: "test"}


def test_another_seed_deals_anew(paired_source: Path, tmp_path: Path) -> None:
    splits = set()
    for seed in (0, 1, 0):
        index_dataset(paired_source, out=tmp_path / "out", seed=seed)
        splits.add(tuple(split_of(load(tmp_path / "out")).items()))
    assert len(splits) == 2


def test_a_data_list_that_cannot_be_read_is_not_replaced(paired_source: Path, tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": [')
    with pytest.raises(InputError, match="is no data list"):
        index_dataset(paired_source, out=tmp_path)
    assert (tmp_path / "datalist.json").read_text() == '{"training": ['


# Unlabelled images and volumes


def test_images_without_label_stand_in_no_split(paired_source: Path, tmp_path: Path) -> None:
    rows = [f"images/{name}.png,{'' if name in 'ab' else f'masks/{name}.png'}" for name in "abcdefghij"]
    (paired_source / "table.csv").write_text("\n".join(["image,label", *rows]))
    report = index_dataset(paired_source, out=tmp_path)
    unlabelled = load(tmp_path)["unlabelled"]
    assert (report.unlabelled, sum(report.splits.values())) == (2, 8)
    assert [Path(entry["image"]).stem for entry in unlabelled] == ["a", "b"]
    assert not any({"label", "label_sha256", "area"} & entry.keys() for entry in unlabelled)


def test_pictures_without_a_mask_are_kept_where_that_is_asked_for(paired_source: Path, tmp_path: Path) -> None:
    for name in "ab":
        (paired_source / f"masks/{name}.png").unlink()
    report = index_dataset(paired_source, out=tmp_path, unlabelled=True)
    assert [Path(entry["image"]).stem for entry in load(tmp_path)["unlabelled"]] == ["a", "b"]
    assert (report.unlabelled, sum(report.splits.values()), report.refused) == (2, 8, [])


def test_a_broken_image_without_label_is_refused(paired_source: Path, tmp_path: Path) -> None:
    (paired_source / "images/a.png").write_bytes(b"")
    (paired_source / "table.csv").write_text("image,label\nimages/a.png,\nimages/b.png,masks/b.png")
    assert index_with(paired_source, tmp_path) == {"a.png": "is empty (0 bytes)"}


def stand_in(volumes: dict[str, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> None:
    """For pictures taken as volumes: one item for each slice, and a reader of them."""

    def read(item: Item, slicing: Slicing) -> np.ndarray:
        return volumes[item.file.stem][item.slice]

    def cut(items: list[Item], *_: object) -> tuple[list[Item], list[InputError]]:
        slices = [replace(item, slice=number) for item in items for number in range(len(volumes[item.file.stem]))]
        return slices, []

    monkeypatch.setattr("delineate.pipelines.datasets.check.read_picture", read)
    monkeypatch.setattr("delineate.pipelines.datasets.index.cut_volumes", cut)


def test_all_slices_of_a_volume_stand_in_one_split(
    paired_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = {name: [picture(seed), picture(seed), picture(1000 + seed)] for seed, name in enumerate("abcdefghij")}
    stand_in(volumes, monkeypatch)
    report = index_dataset(paired_source, out=tmp_path, slicing=Slicing("axial"))
    datalist = load(tmp_path)
    assert sum(report.splits.values()) == 30
    assert (report.duplicates, datalist["duplicates"]) == (0, [])
    assert datalist["slicing"]["axis"] == "axial"
    assert not straddling(datalist)


def test_volumes_that_share_a_slice_are_joined_those_that_share_blank_ones_are_not(
    paired_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blank = np.zeros_like(picture(0))
    volumes = {name: [blank, picture(seed), blank] for seed, name in enumerate("abcdefghij")}
    volumes["c"][1] = volumes["h"][1]
    stand_in(volumes, monkeypatch)
    index_dataset(paired_source, out=tmp_path, slicing=Slicing("axial"))
    datalist = load(tmp_path)
    assert datalist["duplicates"] == [{"items": ["source/images/c.png", "source/images/h.png"], "exact": True}]
    assert len({entry["group"] for entry in entries(datalist)}) == 9


def test_a_volume_is_hashed_at_most_once_by_each_worker(
    paired_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    monkeypatch.setattr(
        "delineate.pipelines.datasets.check.content_hash", lambda path: hashed.append(path) or path.name
    )
    volumes = {name: [picture(10 * seed + n) for n in range(6)] for seed, name in enumerate("abcdefghij")}
    stand_in(volumes, monkeypatch)
    index_dataset(paired_source, out=tmp_path, slicing=Slicing("axial"))
    assert max(Counter(hashed).values()) <= 2


def test_modalities_are_a_list_of_images_and_of_hashes(
    paired_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_second(items: list[Item], *_: object) -> tuple[list[Item], list[InputError]]:
        return [replace(item, image=(item.file, item.label[0])) for item in items], []

    monkeypatch.setattr(
        "delineate.pipelines.datasets.check.read_picture", lambda item, *_: np.asarray(Image.open(item.file))
    )
    monkeypatch.setattr("delineate.pipelines.datasets.index.cut_volumes", with_second)
    index_dataset(paired_source, out=paired_source, slicing=Slicing("axial"))
    entry = next(entry for entry in entries(load(paired_source)) if entry["image"][0] == "images/a.png")
    assert entry["image"] == ["images/a.png", "masks/a.png"]
    assert entry["image_sha256"][1] == entry["label_sha256"]


# Several folders, one data set


@pytest.fixture
def two_sources(tmp_path: Path) -> list[Path]:
    """Two folders whose images have the same names; one of the second is one of the first."""
    here, there = make_paired(tmp_path / "here"), tmp_path / "there"
    for seed, name in enumerate("abcde"):
        save(there / f"images/{name}.png", picture(100 + seed))
        save(there / f"masks/{name}.png", MASK)
    shutil.copyfile(here / "images/g.png", there / "images/c.png")
    return [here, there]


def test_several_folders_make_one_data_set_in_which_each_image_keeps_its_source(
    two_sources: list[Path], tmp_path: Path
) -> None:
    report = index_dataset(two_sources, out=tmp_path / "out")
    datalist = load(tmp_path / "out")
    assert Counter(entry["source"] for entry in entries(datalist)) == {"here": 10, "there": 5}
    assert {entry["own_group"] for entry in entries(datalist)} >= {"here a", "there a"}
    assert datalist["source"] == [str(one) for one in two_sources]
    assert (datalist["name"], report.layout) == ("here + there", "paired")


def test_what_repeats_in_another_folder_stays_together(two_sources: list[Path], tmp_path: Path) -> None:
    report = index_dataset(two_sources, out=tmp_path / "out")
    joined = [entry for entry in entries(load(tmp_path / "out")) if entry["own_group"] in ("here g", "there c")]
    assert report.duplicates == 1
    assert {entry["group"] for entry in joined} == {"here g"}


def test_each_folder_is_divided_in_the_fractions_asked_for(two_sources: list[Path], tmp_path: Path) -> None:
    index_dataset(two_sources, out=tmp_path / "out", fractions=(0.6, 0.2, 0.2))
    datalist = load(tmp_path / "out")
    assert Counter((entry["source"], split) for split in SPLITS for entry in datalist[split]) == {
        **{("here", "training"): 6, ("here", "validation"): 2, ("here", "test"): 2},
        **{("there", "training"): 3, ("there", "validation"): 1, ("there", "test"): 1},
    }


def test_folders_of_one_name_are_told_apart_by_those_above_them(tmp_path: Path) -> None:
    sources = [make_paired(tmp_path / above / "data", "abc") for above in ("one", "two")]
    index_dataset(sources, out=tmp_path / "out")
    assert {entry["source"] for entry in entries(load(tmp_path / "out"))} == {"one/data", "two/data"}


def test_a_folder_named_twice_and_one_without_images_are_refused(tmp_path: Path) -> None:
    source = make_paired(tmp_path / "source", "abc")
    with pytest.raises(DelineateError, match="name each folder once"):
        index_dataset([source, tmp_path / "source/../source"], out=tmp_path / "out")
    for file in (broken := make_paired(tmp_path / "broken", "abc")).rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DelineateError, match="broken: no usable image is left"):
        index_dataset([source, broken], out=tmp_path / "out")


def test_a_data_set_of_other_folders_is_not_replaced(two_sources: list[Path], tmp_path: Path) -> None:
    index_dataset(two_sources, out=tmp_path / "out")
    index_dataset(two_sources[::-1], out=tmp_path / "out")
    with pytest.raises(InputError, match=r"already holds the data set of .*here and .*there"):
        index_dataset(two_sources[0], out=tmp_path / "out")


# Folders of patients


def make_patients(root: Path) -> list[Path]:
    for number in range(6):
        make_paired(root / f"patient_{number}", "abc")
        for seed, name in enumerate("abc"):
            save(root / f"patient_{number}/images/{name}.png", picture(10 * number + seed))
    return sorted(root.iterdir())


def test_folders_that_are_patients_keep_all_their_images_in_one_split(tmp_path: Path) -> None:
    folders = make_patients(tmp_path / "source")
    report = index_dataset(folders, out=tmp_path / "out", fractions=(0.5, 0.25, 0.25), group_by_folder=True)
    splits = {entry["group"]: set[str]() for entry in entries(load(tmp_path / "out"))}
    for place, entry in placed(load(tmp_path / "out")):
        splits[entry["group"]].add(str(place))
    assert {group: len(found) for group, found in splits.items()} == {folder.name: 1 for folder in folders}
    assert not [note for note in report.notes if "patient" in note]
    assert load(tmp_path / "out")["name"] == "source, 6 folders"
    assert not any("source" in entry for entry in entries(load(tmp_path / "out")))


def test_one_folder_cannot_be_divided_by_folders(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"only one folder is named; name each patient's: .*source/\*"):
        index_dataset(make_paired(tmp_path / "source"), out=tmp_path / "out", group_by_folder=True)


@pytest.mark.parametrize(("several", "remedy"), [(True, "--group-by-folder"), (False, "a column group")])
def test_where_nothing_says_whose_the_images_are_a_note_says_so(tmp_path: Path, several: bool, remedy: str) -> None:
    folders = make_patients(tmp_path / "source")
    (note,) = [
        note
        for note in index_dataset(folders if several else folders[0], out=tmp_path / "out").notes
        if note.startswith("it is not known which images are of one patient")
    ]
    assert remedy in note
    assert note in load(tmp_path / "out")["notes"]


def test_an_official_split_needs_no_word_of_patients(tmp_path: Path) -> None:
    for seed, part in enumerate(("train", "test")):
        for name in "abc":
            save(tmp_path / f"source/{part}/images/{name}.png", picture(10 * seed + ord(name)))
            save(tmp_path / f"source/{part}/masks/{name}.png", MASK)
    report = index_dataset(tmp_path / "source", out=tmp_path / "out")
    assert not [note for note in report.notes if "patient" in note]
