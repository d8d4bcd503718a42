from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_lists import write_datalist

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.splitting.folds import write_folds
from delineate.pipelines.datasets.splitting.splits import Plan
from delineate.pipelines.datasets.unlabelled import unlabelled_for_training

PATIENTS = {f"patient {number}": number % 3 + 1 for number in range(15)}


def entry(folder: Path, group: str, number: int, **fields: Any) -> dict[str, Any]:
    name = f"{group} {number}"
    hashes = {f"{kind}_sha256": f"{kind} {name}" for kind in ("image", "label", "pixels")}
    paths = {"image": str(folder / f"{name}.png"), "label": str(folder / f"{name}_mask.png")}
    return {**paths, "group": group, "class": "benign", "area": number / 10, **hashes, **fields}


def data_set(folder: Path, patients: dict[str, int], folds: int | None = None, **head: Any) -> Path:
    entries = [
        entry(folder, group, number, **({} if folds is None else {"fold": place % folds}))
        for place, (group, size) in enumerate(patients.items())
        for number in range(size)
    ]
    test = [entry(folder, "held out", number) for number in range(3)]
    plan = Plan(folds=folds).as_dict()
    lists = {"training": entries, "validation": [], "test": test, "unlabelled": []}
    write_datalist({"name": "some", "source": "/far", **plan, **head, **lists}, folder)
    return folder


def names(folder: Path, *splits: str) -> list[str]:
    return [item.file.name for place, item in Datalist.read(folder).labelled() if place.split in splits]


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (3, 1), (5, 2)])
def test_each_image_is_judged_once_by_a_network_that_has_not_seen_its_group(
    tmp_path: Path, folds: int, seed: int
) -> None:
    data = data_set(tmp_path / "data", PATIENTS)
    places = write_folds(data, tmp_path, folds, seed)
    every = names(data, "training", "test")
    assert len(places) == folds
    assert Counter(name for place in places for name in names(place, "test")) == Counter(every)
    for place in places:
        assert sorted(names(place, "training", "validation", "test")) == sorted(every)
        assert names(place, "training")
        assert names(place, "validation")
        assert not Datalist.read(place).leaks()


def test_the_same_seed_gives_the_same_folds_and_another_gives_others(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", PATIENTS)
    hashes = [
        [Datalist.read(place).hash for place in write_folds(data, tmp_path / str(run), 3, seed)]
        for run, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_test_split_is_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", PATIENTS)
    places = write_folds(data, tmp_path, 3, keep_test=True)
    assert sorted(name for place in places for name in names(place, "test")) == sorted(names(data, "training"))


def test_the_folds_of_a_data_set_are_kept_and_its_test_split_is_left_out(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", PATIENTS, folds=4)
    places = write_folds(data, tmp_path)
    for fold, place in enumerate(places):
        items = Datalist.read(data).part("training")
        assert names(place, "test") == [item.file.name for item in items if item.fold == fold]
    assert len(places) == 4


def test_images_that_show_the_same_are_of_one_fold(tmp_path: Path) -> None:
    """A list that somebody made by hand: its groups do not know of the duplicate."""
    data = tmp_path / "data"
    pair = {"items": [str(data / "patient 0 0.png"), str(data / "patient 1 0.png")], "exact": False}
    data_set(data, PATIENTS, duplicates=[pair])
    for place in write_folds(data, tmp_path, 5):
        assert len({"patient 0 0.png", "patient 1 0.png"} & set(names(place, "test"))) in (0, 2)


def test_too_few_groups_are_refused(tmp_path: Path) -> None:
    data = data_set(tmp_path / "data", {"a": 3})
    with pytest.raises(DelineateError, match=r"ask for fewer folds, or add images"):
        write_folds(data, tmp_path, 2)


def with_bare(folder: Path, *bare: tuple[str, str], duplicates: list[dict[str, Any]] | None = None) -> Path:
    """A data set and images without a label: name and group of each."""
    data_set(folder, PATIENTS)
    entries = []
    for name, group in bare:
        item = {key: value for key, value in entry(folder, group, 0).items() if not key.startswith("label")}
        hashes = {key: f"{key} of {name}" for key in ("image_sha256", "pixels_sha256")}
        entries.append({**item, "image": str(folder / f"{name}.png"), **hashes, "area": None})
    content = json.loads((folder / "datalist.json").read_text())
    content |= {"unlabelled": entries} | ({"duplicates": duplicates} if duplicates else {})
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def bare_of(place: Path) -> dict[str, str]:
    return {item.file.stem: item.group for item in Datalist.read(place).part("unlabelled")}


def test_images_without_a_label_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    data = with_bare(tmp_path / "data", ("alone", "alone"))
    assert [bare_of(place) for place in write_folds(data, tmp_path / "a", 3)] == [{}] * 3
    assert [bare_of(place) for place in write_folds(data, tmp_path / "b", 3, use_unlabelled=True)] == [
        {"alone": "alone"}
    ] * 3


@pytest.mark.parametrize("keep_test", [False, True])
def test_an_image_without_a_label_of_a_test_patient_that_is_kept_apart_is_left_out(
    tmp_path: Path, keep_test: bool
) -> None:
    data = with_bare(tmp_path / "data", ("alone", "alone"), ("more", "held out"))
    [place, *_] = write_folds(data, tmp_path, 3, keep_test=keep_test, use_unlabelled=True)
    assert set(bare_of(place)) == ({"alone"} if keep_test else {"alone", "more"})


def test_an_image_without_a_label_that_repeats_one_of_a_fold_is_of_its_group(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    labelled = str(folder / "patient 3 0.png")
    pair = {"items": [str(folder / "again.png"), labelled], "exact": False}
    data = with_bare(folder, ("again", "somebody"), duplicates=[pair])
    for place in write_folds(data, tmp_path, 3, use_unlabelled=True):
        assert bare_of(place) == {"again": "patient 3"}
        left_out = "patient 3 0.png" in names(place, "validation", "test")
        assert len(unlabelled_for_training(Datalist.read(place))[0]) == (not left_out)


def test_an_image_without_a_label_that_joins_two_patients_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ends = [str(folder / f"patient {number} 0.png") for number in (3, 4)]
    pairs = [{"items": [str(folder / "between.png"), other], "exact": False} for other in ends]
    data = with_bare(folder, ("between", "somebody"), duplicates=pairs)
    assert all(not bare_of(place) for place in write_folds(data, tmp_path, 3, use_unlabelled=True))
