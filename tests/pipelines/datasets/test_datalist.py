from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_lists import dataset_hash, read_datalist, straddling, write_datalist

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.datasets.datalist import Datalist, older_datalist
from delineate.pipelines.datasets.splitting.splits import Plan

Entries = list[dict[str, Any]]


def entry(name: str, **more: Any) -> dict[str, Any]:
    hashes = {f"{kind}_sha256": f"{kind} {name}" for kind in ("image", "label", "pixels")}
    return {"image": f"{name}.png", "label": f"{name}_mask.png", "group": name} | hashes | more


def lists(
    training: list[dict[str, Any]], validation: list[dict[str, Any]], test: list[dict[str, Any]]
) -> dict[str, Any]:
    return {"source": "/source", "training": training, "validation": validation, "test": test, "unlabelled": []}


# What leaks


def test_disjoint_splits_and_folds_leak_nothing() -> None:
    assert straddling(lists([entry("a", fold=0), entry("b", fold=1)], [entry("c")], [entry("d")])) == []


@pytest.mark.parametrize(
    ("shared", "what"),
    [
        ({"group": "p"}, "group 'p'"),
        ({"image_sha256": "f"}, "equal files a.png, b.png"),
        ({"pixels_sha256": "f"}, "equal pixels of a.png, b.png"),
    ],
)
def test_what_stands_on_two_sides_is_named(shared: dict[str, str], what: str) -> None:
    one, other = entry("a", **shared), entry("b", **shared)
    assert straddling(lists([one], [other], [])) == [(what, ["training", "validation"])]
    assert straddling(lists([], [one], [other])) == [(what, ["validation", "test"])]
    assert straddling(lists([one | {"fold": 0}, other | {"fold": 1}], [], [])) == [(what, ["fold 0", "fold 1"])]
    assert straddling(lists([one | {"fold": 2}], [], [other])) == [(what, ["fold 2", "test"])]
    assert straddling(lists([one | {"fold": 2}, other | {"fold": 2}], [], [])) == []


def test_one_modality_in_common_is_a_leak() -> None:
    one, other = (entry(name, image=[f"{name}.nii"], image_sha256=[name, "t2"]) for name in "ab")
    assert straddling(lists([one], [], [other])) == [("equal files a.nii, b.nii", ["training", "test"])]


def test_two_series_in_one_folder_are_two_images() -> None:
    one, other = (entry(name, image="dicom", image_sha256="all", series=name) for name in "ab")
    assert straddling(lists([one], [], [other])) == []


def test_entries_without_group_and_hashes_leak_nothing_that_is_known() -> None:
    assert straddling(lists([{"image": "a.png", "label": "m.png"}], [], [{"image": "a.png", "label": "m.png"}])) == []


# Its hash


def test_the_hash_does_not_depend_on_where_files_lie_and_on_the_order() -> None:
    here = lists([entry("a"), entry("b")], [], [entry("c")])
    there = lists([entry("b", image="/far/b.png"), entry("a")], [], [entry("c")])
    assert dataset_hash(here) == dataset_hash(there)


@pytest.mark.parametrize("change", [{"label_sha256": "other"}, {"slice": 4}, {"fold": 1}, {"series": "1.2.3"}])
def test_the_hash_changes_with_what_an_entry_is(change: dict[str, Any]) -> None:
    assert dataset_hash(lists([entry("a") | change], [], [])) != dataset_hash(lists([entry("a")], [], []))


def test_the_hash_changes_with_the_split() -> None:
    assert dataset_hash(lists([entry("a")], [], [])) != dataset_hash(lists([], [], [entry("a")]))


def test_the_hash_of_pictures_is_what_it_was() -> None:
    assert dataset_hash(lists([entry("a")], [], [entry("b")]))[:8] == "a298c90e"  # as records of trainings have it


# Reading and writing


def test_paths_are_written_relative_below_the_data_set_and_read_absolute(tmp_path: Path) -> None:
    image = {"image": [str(tmp_path / "a.png"), "/far/b.png"], "label": str(tmp_path / "m.png")}
    pair = {"items": [str(tmp_path / "a.png"), "/far/b.png"], "exact": True}
    datalist = lists([entry("a") | image], [], []) | {
        "duplicates": [pair],
        "refused": [{"file": "/far/c.png", "reason": "is empty", "remedy": "restore it"}],
    }
    written = json.loads(write_datalist(datalist, tmp_path).read_text())
    assert written["training"][0]["image"] == written["duplicates"][0]["items"] == ["a.png", "/far/b.png"]
    read = read_datalist(tmp_path)
    assert {key: read[key] for key in datalist} == datalist


def test_another_data_list_that_was_there_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Datalist(folder=tmp_path, lists={}, name="first")
    path = first.write()
    edited = path.read_text().replace("first", "edited")
    path.write_text(edited)
    first.write()
    assert (tmp_path / "datalist.1.json").read_text() == edited
    assert caplog.messages == [f"the data list that was there is kept as {tmp_path / 'datalist.1.json'}"]
    replace(first, name="second").write()
    assert "first" in (tmp_path / "datalist.2.json").read_text()


def test_the_same_data_list_again_is_kept_once(tmp_path: Path) -> None:
    for _ in range(2):
        Datalist(folder=tmp_path, lists={}).write()
    assert [path.name for path in tmp_path.iterdir()] == ["datalist.json"]


def test_a_field_that_monai_would_read_as_a_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "liver").touch()
    with pytest.raises(InputError, match=r"'liver', as which MONAI would read the field"):
        write_datalist(lists([entry("a", organs=["liver"])], [], []), tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is no data list"), ("[]", "holds no splits"), ('{"test": [{"label": "a.png"}]}', "an item has no image")],
)
def test_a_file_that_is_no_data_list_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "datalist.json").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_datalist(tmp_path)


def test_a_data_list_of_other_make_is_refused_for_lack_of_groups(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": [{"image": "a.nii", "label": "b.nii"}]}')
    with pytest.raises(InputError, match="items without group or hash"):
        Datalist.read(tmp_path).refuse_unindexed()


@pytest.mark.parametrize(
    ("plan", "known"), [(Plan(), True), (Plan(seed=1), False), (Plan((0.8, 0.1, 0.1)), False), (Plan(folds=3), False)]
)
def test_an_older_data_list_counts_if_it_was_dealt_by_the_same_plan(tmp_path: Path, plan: Plan, known: bool) -> None:
    first_version = {key: value for key, value in Plan().as_dict().items() if key != "folds"}
    (tmp_path / "datalist.json").write_text(json.dumps(lists([], [], []) | first_version))
    assert bool(older_datalist(tmp_path, plan)) is known


def test_a_data_list_of_a_later_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"format": 2, "training": []}')
    with pytest.raises(InputError, match=r"is of format 2; this version reads 1; update Delineate"):
        Datalist.read(tmp_path)


def test_a_data_list_without_a_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text('{"training": []}')
    assert Datalist.read(tmp_path).counts() == {}
