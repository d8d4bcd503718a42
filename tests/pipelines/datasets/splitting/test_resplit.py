from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from data_lists import placed, read_datalist, straddling, write_datalist

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.datasets.datalist import Datalist, content
from delineate.pipelines.datasets.splitting.resplit import split_dataset
from delineate.pipelines.datasets.splitting.splits import Plan
from delineate.pipelines.imaging.item import Item

GROUPS = {f"patient {number}": number % 3 + 1 for number in range(12)}


def entry(folder: Path, group: str, number: int) -> dict[str, Any]:
    name = f"{group} {number}"
    return {
        "image": str(folder / f"{name}.png"),
        "label": [str(folder / f"{name}_a.png"), str(folder / f"{name}_b.png")],
        "group": group,
        "class": "benign",
        "area": number / 10,
        **{f"{kind}_sha256": f"{kind} {name}" for kind in ("image", "label", "pixels")},
    }


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    entries = [entry(folder, group, number) for group, size in GROUPS.items() for number in range(size)]
    datalist = {"name": "some", "source": "/far", "slicing": {"axis": "axial"}, **Plan().as_dict()}
    write_datalist(datalist | {"training": entries, "validation": [], "test": [], "unlabelled": []}, folder)
    return folder


def places(folder: Path) -> dict[str, str]:
    return {entry["image"]: str(place) for place, entry in placed(folder)}


@pytest.mark.parametrize("plan", [Plan(), Plan((0.8, 0, 0.2), 1, folds=4)])
def test_every_image_is_dealt_once_and_no_group_is_cut(dataset: Path, tmp_path: Path, plan: Plan) -> None:
    report = split_dataset(dataset, tmp_path / "out", plan)
    datalist = read_datalist(tmp_path / "out")
    assert places(tmp_path / "out").keys() == places(dataset).keys()
    assert sum(report.splits.values()) == len(places(dataset))
    assert report.splits == Datalist.read(tmp_path / "out").counts()
    assert all(report.splits.values())
    assert not straddling(datalist)


def test_what_is_no_split_is_kept(dataset: Path, tmp_path: Path) -> None:
    split_dataset(dataset, tmp_path / "out", Plan(seed=3))
    datalist = read_datalist(tmp_path / "out")
    assert (datalist["name"], datalist["slicing"]["axis"], datalist["seed"]) == ("some", "axial", 3)


def test_relative_paths_are_told_from_the_new_place(dataset: Path, tmp_path: Path) -> None:
    split_dataset(dataset, tmp_path, Plan())
    written = json.loads((tmp_path / "datalist.json").read_text())["training"]
    assert all(path.startswith("dataset/") for entry in written for path in (entry["image"], *entry["label"]))


def test_a_split_from_folds_has_no_folds(dataset: Path, tmp_path: Path) -> None:
    split_dataset(dataset, tmp_path / "folds", Plan(folds=3))
    split_dataset(tmp_path / "folds", tmp_path / "out", Plan())
    split_dataset(dataset, tmp_path / "direct", Plan())
    assert read_datalist(tmp_path / "out") == read_datalist(tmp_path / "direct")


def test_images_that_are_added_move_no_other(dataset: Path, tmp_path: Path) -> None:
    split_dataset(dataset, tmp_path / "out", Plan())
    before = places(tmp_path / "out")
    datalist = read_datalist(dataset)
    datalist["training"] += [entry(dataset, f"new {number}", number) for number in range(9)]
    write_datalist(datalist, dataset)
    assert split_dataset(dataset, tmp_path / "out", Plan()).moved == []
    assert places(tmp_path / "out").items() >= before.items()


def test_the_official_test_set_stays_where_that_is_wanted(dataset: Path, tmp_path: Path) -> None:
    datalist = read_datalist(dataset)
    official = {group: "test" if group[-1] in "345" else "training" for group in GROUPS}
    write_datalist(datalist | {"official": official}, dataset)
    split_dataset(dataset, tmp_path / "out", Plan(folds=3), official=True)
    assert {entry["group"] for entry in read_datalist(tmp_path / "out")["test"]} == {f"patient {n}" for n in (3, 4, 5)}


def audited(folder: Path, *pairs: tuple[str, str]) -> None:
    """An audit as `audit_dataset` leaves it, that found these pairs of images, by name."""
    contents = {Path(entry["image"]).stem: content(Item.from_fields(entry)) for _, entry in placed(folder)}
    found = [{"contents": [contents[name] for name in pair], "exact": False} for pair in pairs]
    (folder / "audit.json").write_text(json.dumps({"duplicates": found}))


@pytest.mark.parametrize("plan", [Plan(), *(Plan(seed=seed) for seed in (1, 2)), Plan(folds=3)])
def test_what_an_audit_found_alike_stays_together_and_stays_known(dataset: Path, tmp_path: Path, plan: Plan) -> None:
    pairs = [("patient 0 0", "patient 1 0"), ("patient 1 1", "patient 5 2"), ("patient 7 0", "patient 8 1")]
    audited(dataset, *pairs)
    report = split_dataset(dataset, tmp_path / "out", plan)
    assert report.joined == 3
    split_dataset(tmp_path / "out", tmp_path / "again", replace(plan, seed=plan.seed + 10))
    for out in ("out", "again"):
        of = {Path(image).stem: place for image, place in places(tmp_path / out).items()}
        assert all(of[one] == of[other] for one, other in pairs)
        assert len(read_datalist(tmp_path / out)["duplicates"]) == 3


def test_what_the_data_list_records_stays_together(dataset: Path, tmp_path: Path) -> None:
    datalist = read_datalist(dataset)
    images = [entry["image"] for entry in datalist["training"]]
    write_datalist(datalist | {"duplicates": [{"items": [images[0], images[-1]], "exact": False}]}, dataset)
    for seed in range(4):
        split_dataset(dataset, tmp_path / f"{seed}", Plan(seed=seed))
        assert len({places(tmp_path / f"{seed}")[image] for image in (images[0], images[-1])}) == 1


def test_likeness_to_one_unlabelled_image_joins_two(dataset: Path, tmp_path: Path) -> None:
    datalist = read_datalist(dataset)
    between = {key: value for key, value in entry(dataset, "between", 0).items() if key != "label"}
    images = [one["image"] for one in datalist["training"]]
    known = [{"items": [images[index], between["image"]], "exact": False} for index in (0, -1)]
    write_datalist(datalist | {"unlabelled": [between], "duplicates": known}, dataset)
    assert split_dataset(dataset, tmp_path / "out", Plan()).joined == 2


@pytest.mark.parametrize("text", ["", "{}", '{"duplicates": [1]}'])
def test_an_audit_that_cannot_be_read_is_refused(dataset: Path, tmp_path: Path, text: str) -> None:
    (dataset / "audit.json").write_text(text)
    with pytest.raises(InputError, match="audit the data set again"):
        split_dataset(dataset, tmp_path / "out", Plan())


def test_an_audit_may_lie_elsewhere_but_must_be_there(dataset: Path, tmp_path: Path) -> None:
    audited(dataset, ("patient 0 0", "patient 1 0"))
    (tmp_path / "far").mkdir()
    (dataset / "audit.json").rename(tmp_path / "far/audit.json")
    assert split_dataset(dataset, tmp_path / "out", Plan(), audit=tmp_path / "far").joined == 1
    with pytest.raises(InputError, match="does not exist"):
        split_dataset(dataset, tmp_path / "out", Plan(), audit=tmp_path)


def test_a_copy_of_an_official_test_image_is_left_out_of_training(dataset: Path, tmp_path: Path) -> None:
    datalist = read_datalist(dataset)
    official = {group: "test" if group[-1] in "345" else "training" for group in GROUPS}
    write_datalist(datalist | {"official": official}, dataset)
    audited(dataset, ("patient 0 0", "patient 3 0"))
    report = split_dataset(dataset, tmp_path / "out", Plan(), official=True)
    assert [Path(one.source).stem for one in report.refused] == ["patient 0 0"]
    assert sum(report.splits.values()) == len(places(dataset)) - 1


def test_an_official_split_that_is_not_there_is_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no official split; leave --official out"):
        split_dataset(dataset, tmp_path / "out", Plan(), official=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_data_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="index the images first"):
        split_dataset(tmp_path, tmp_path / "out", Plan())


@pytest.mark.parametrize("way", ["itself", "relative", "link"])
def test_a_data_set_is_not_split_into_its_own_folder(
    dataset: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dataset)
    (tmp_path / "link").symlink_to(dataset)
    before = (dataset / "datalist.json").read_bytes()
    with pytest.raises(InputError, match="is the data set itself"):
        split_dataset(dataset, {"itself": dataset, "relative": Path("."), "link": tmp_path / "link"}[way], Plan())
    assert (dataset / "datalist.json").read_bytes() == before


def test_a_split_does_not_replace_the_data_list_of_another_source(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "other_source").mkdir()
    lists = {"training": [], "validation": [], "test": [], "unlabelled": []}
    write_datalist({"source": str(tmp_path / "other_source"), **lists}, tmp_path / "other")
    with pytest.raises(InputError, match=r"already holds the data set of .*other_source"):
        split_dataset(dataset, tmp_path / "other", Plan())


def groups(items: list[dict[str, Any]]) -> set[str]:
    return {item["group"] for item in items}


def test_a_share_of_the_training_groups_keeps_its_labels(dataset: Path, tmp_path: Path) -> None:
    split_dataset(dataset, tmp_path / "whole", Plan(seed=3))
    report = split_dataset(dataset, tmp_path / "few", Plan(seed=3), labelled_share=0.25)
    whole, few = read_datalist(tmp_path / "whole"), read_datalist(tmp_path / "few")
    assert (few["validation"], few["test"]) == (whole["validation"], whole["test"])
    images = {item["image"] for item in whole["training"]}
    assert {item["image"] for item in (*few["training"], *few["unlabelled"])} == images
    assert not groups(few["training"]) & groups(few["unlabelled"])
    assert len(groups(few["training"])) == round(0.25 * len(groups(whole["training"])))
    assert not any(name for item in few["unlabelled"] for name in item if "label" in name or name == "area")
    assert (report.unlabelled, few["labelled_share"]) == (len(few["unlabelled"]), 0.25)


def test_the_same_share_and_seed_keep_the_same_labels(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        split_dataset(dataset, tmp_path / name, Plan((1, 0, 0), seed), labelled_share=0.5)
    one, again, other = (groups(read_datalist(tmp_path / name)["training"]) for name in ("one", "again", "other"))
    assert one == again != other


@pytest.mark.parametrize(
    ("share", "plan", "reason"), [(0, Plan(), "above 0"), (1, Plan(), "below 1"), (0.1, Plan(folds=3), "not of folds")]
)
def test_a_share_that_is_none_is_refused(dataset: Path, tmp_path: Path, share: float, plan: Plan, reason: str) -> None:
    with pytest.raises(DelineateError, match=reason):
        split_dataset(dataset, tmp_path / "out", plan, labelled_share=share)
    assert not (tmp_path / "out").exists()
