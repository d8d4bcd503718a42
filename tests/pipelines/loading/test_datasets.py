from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import CacheDataset, Dataset, get_track_meta
from monai.transforms import Compose, RandGaussianNoised
from PIL import Image

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.errors import DelineateError, InputError, UnknownNameError
from delineate.pipelines.loading.datasets import AugmentedDataset, StreamDataset, load_datalist
from delineate.pipelines.loading.streams import refusal


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    found = []
    for name in "abcdefg":
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        mask = np.zeros((20, 30), np.uint8)
        mask[3:12, 5:25] = 255
        Image.fromarray(mask).save(folder / f"{name}_mask.png")
        found.append({"image": str(folder / f"{name}.png"), "label": str(folder / f"{name}_mask.png"), "group": name})
    return found


def trained_way() -> tuple[Any, Any]:
    """The transforms before the cache, and after it, of a shipped bundle's training, on a small grid."""
    parser = ConfigParser()
    parser.read_config(str(shipped_bundles()["skin_lesion"] / "configs" / "train.yaml"))
    parser["image_size"] = [16, 24]
    parser["train::spatial_augmentation"] = [
        t for t in parser["train::spatial_augmentation"] if "Rotate90" not in t["_target_"]
    ]
    return parser.get_parsed_content("train::cached::transform"), parser.get_parsed_content("train::dataset::transform")


@pytest.fixture(scope="module")
def way() -> Any:
    return trained_way()[0]


@pytest.fixture(scope="module")
def augmentation() -> Any:
    return trained_way()[1]


# --- the datalist --------------------------------------------------------------------------------------------


def write_datalist(folder: Path, **splits: list[dict[str, Any]]) -> Path:
    content = {"training": [], "validation": [], "test": [], **splits}
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def touched(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).touch()
    return list(names)


def test_paths_relative_to_the_datalist_become_absolute(tmp_path: Path) -> None:
    image, label = touched(tmp_path, "a.png", "a_mask.png")
    entry = {"image": image, "label": label, "group": "a", "class": "benign", "image_sha256": "0", "area": 0.5}
    loaded = load_datalist(write_datalist(tmp_path, test=[entry]), "test")
    assert loaded == [
        {
            "image": f"{tmp_path}/a.png",
            "label": f"{tmp_path}/a_mask.png",
            "group": "a",
            "class": "benign",
            "image_sha256": "0",
        }
    ]


def test_several_masks_of_an_image_are_kept(tmp_path: Path) -> None:
    image, *labels = touched(tmp_path, "a.png", "a_mask.png", "a_mask_1.png")
    loaded = load_datalist(write_datalist(tmp_path, training=[{"image": image, "label": labels}]), "training")
    assert loaded[0]["label"] == [f"{tmp_path}/{label}" for label in labels]


@pytest.mark.parametrize("missing", ["a.png", "a_mask.png"])
def test_an_item_whose_file_is_missing_is_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    entries = [
        {"image": image, "label": label}
        for image, label in (touched(tmp_path, f"{n}.png", f"{n}_mask.png") for n in "ab")
    ]
    write_datalist(tmp_path, training=entries)
    (tmp_path / missing).unlink()
    with caplog.at_level(logging.ERROR, "delineate"):
        assert [Path(item["image"]).name for item in load_datalist(tmp_path, "training")] == ["b.png"]
    assert caplog.messages == [f"{tmp_path}/{missing}: listed in the datalist but not there; restore it or index again"]


def test_what_transforms_need_is_handed_on(tmp_path: Path) -> None:
    touched(tmp_path, "a.nii.gz", "b.nii.gz", "outline")
    known = {
        "slice": 3,
        "series": "1.2.3",
        "label_values": [1, 2],
        "label_is": "outline",
        "spacing": [0.5, 0.5],
        "size": [2, 2],
    }
    entry = {"image": ["a.nii.gz", "b.nii.gz"], "fold": None, "area": 0.5, **known}
    (loaded,) = load_datalist(write_datalist(tmp_path, test=[entry]), "test")
    assert loaded == {"image": [f"{tmp_path}/a.nii.gz", f"{tmp_path}/b.nii.gz"], **known}


def test_an_image_may_be_the_folder_of_a_series(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (loaded,) = load_datalist(write_datalist(tmp_path, test=[{"image": "series"}]), "test")
    assert loaded["image"] == f"{tmp_path}/series"


def test_one_missing_modality_leaves_the_item_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touched(tmp_path, "a.nii", "b.nii")
    entries = [{"image": ["a.nii", "gone.nii"]}, {"image": ["a.nii", "b.nii"]}]
    assert len(load_datalist(write_datalist(tmp_path, training=entries), "training")) == 1
    assert caplog.messages == [f"{tmp_path}/gone.nii: listed in the datalist but not there; restore it or index again"]


def test_a_folder_without_datalist_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"no datalist\.json.*delineate data index"):
        load_datalist(tmp_path, "test")


def test_an_evaluation_keeps_missing_items_to_refuse_and_count_them(tmp_path: Path) -> None:
    write_datalist(tmp_path, test=[{"image": "gone.png", "label": "gone_mask.png"}])
    assert [item["image"] for item in load_datalist(tmp_path, "test", skip_missing=False)] == [f"{tmp_path}/gone.png"]


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_datalist(tmp_path)
    with pytest.raises(DelineateError, match=r"'validation' is empty .*delineate data split"):
        load_datalist(tmp_path, "validation")


def test_a_data_set_without_labels_says_so(tmp_path: Path) -> None:
    write_datalist(tmp_path, unlabelled=[{"image": "a.png"}])
    with pytest.raises(DelineateError, match=r"no image has a label, .*add masks"):
        load_datalist(tmp_path, "test")


def test_the_data_list_itself_is_answered_with_its_folder(tmp_path: Path) -> None:
    write_datalist(tmp_path)
    with pytest.raises(DelineateError, match=f"is a file, .*; name its folder, {tmp_path}$"):
        load_datalist(tmp_path / "datalist.json", "test")


def test_a_folder_that_is_missing_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"there is no folder .*nothere; check the path"):
        load_datalist(tmp_path / "nothere", "test")


@pytest.mark.parametrize("name", ["a.jpg", "images/a.png", "sub/a.dcm", "imagesTr/a.nii.gz"])
def test_a_folder_of_images_is_to_be_indexed_into_another(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine" / name).parent.mkdir(parents=True)
    (tmp_path / "mine" / name).touch()
    said = f"index its images first: delineate data index {tmp_path}/mine --out {tmp_path}/mine_index"
    with pytest.raises(DelineateError, match=f"has no datalist.json; {re.escape(said)}$"):
        load_datalist(tmp_path / "mine", "test")


def test_a_folder_without_images_and_data_list_is_what_an_index_goes_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DelineateError, match=f"delineate data index SOURCE --out {tmp_path}$"):
        load_datalist(tmp_path, "test")


def test_all_are_the_labelled_items_of_every_split(tmp_path: Path) -> None:
    lists = {name: [{"image": f"{name}.png", "label": "m.png"}] for name in ("training", "validation", "test")}
    write_datalist(tmp_path, **lists, unlabelled=[{"image": "u.png"}])
    found = load_datalist(tmp_path, "all", skip_missing=False)
    assert [Path(item["image"]).stem for item in found] == ["training", "validation", "test"]


def test_a_wrong_split_is_answered_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'training'"):
        load_datalist(tmp_path, "train")


def test_of_no_labelled_items_all_are_none(tmp_path: Path) -> None:
    write_datalist(tmp_path)
    with pytest.raises(DelineateError, match="no image has a label"):
        load_datalist(tmp_path, "all")


# --- folds ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folded(tmp_path: Path) -> Path:
    entries = [{"image": name, "fold": i % 3} for i, name in enumerate(touched(tmp_path, *"abcdefg"))]
    return write_datalist(tmp_path, training=entries, test=[{"image": name} for name in touched(tmp_path, "t")])


def names(items: list[dict[str, Any]]) -> str:
    return "".join(Path(item["image"]).name for item in items)


@pytest.mark.parametrize(("fold", "training", "validation"), [(0, "bcef", "adg"), (2, "abdeg", "cf")])
def test_one_fold_is_the_validation_and_the_others_the_training(
    folded: Path, fold: int, training: str, validation: str
) -> None:
    assert names(load_datalist(folded, "training", fold=fold)) == training
    assert names(load_datalist(folded, "validation", fold=fold)) == validation


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_the_test_images_are_those_of_every_fold(folded: Path, fold: int | None) -> None:
    assert names(load_datalist(folded, "test", fold=fold)) == "t"


@pytest.mark.parametrize("split", ["training", "validation"])
def test_folds_must_be_chosen_from(folded: Path, split: str) -> None:
    with pytest.raises(DelineateError, match="has folds; set fold to the one that is to be the validation: 0, 1, 2"):
        load_datalist(folded, split)


@pytest.mark.parametrize("fold", [3, -1])
def test_a_fold_that_is_not_there_is_refused(folded: Path, fold: int) -> None:
    with pytest.raises(DelineateError, match=f"has no fold {fold}; there are: 0, 1, 2"):
        load_datalist(folded, "training", fold=fold)


def test_all_need_no_fold(folded: Path) -> None:
    test = len(load_datalist(folded, "test", skip_missing=False))
    others = sum(len(load_datalist(folded, one, skip_missing=False, fold=0)) for one in ("training", "validation"))
    assert len(load_datalist(folded, "all", skip_missing=False)) == test + others
    with pytest.raises(DelineateError, match="fold 0 says nothing of all labelled images; leave fold out"):
        load_datalist(folded, "all", fold=0)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_a_fold_of_a_data_set_without_folds_is_refused(tmp_path: Path, split: str) -> None:
    entries = [{"image": name} for name in touched(tmp_path, *"ab")]
    write_datalist(tmp_path, training=entries[:1], validation=entries[1:])
    with pytest.raises(DelineateError, match="has no folds; leave fold out"):
        load_datalist(tmp_path, split, fold=0)


# --- how volumes are cut -------------------------------------------------------------------------------------

CUT = {"axis": "axial", "window": "abdomen", "neighbours": 0}


def cut_datalist(folder: Path, cut: dict[str, Any] | None) -> Path:
    (folder / "a.nii").touch()
    (folder / "datalist.json").write_text(json.dumps({"slicing": cut, "training": [{"image": "a.nii"}]}))
    return folder


@pytest.mark.parametrize("slicing", [None, CUT, {"axis": "axial", "window": "abdomen"}])
def test_slices_are_read_as_they_were_cut(tmp_path: Path, slicing: dict[str, Any] | None) -> None:
    assert len(load_datalist(cut_datalist(tmp_path, CUT), "training", slicing=slicing)) == 1


def test_plain_images_are_read_by_any_bundle(tmp_path: Path) -> None:
    assert len(load_datalist(cut_datalist(tmp_path, None), "training", slicing=CUT)) == 1


def test_slices_that_were_cut_otherwise_are_refused(tmp_path: Path) -> None:
    cut_datalist(tmp_path, CUT)
    with pytest.raises(DelineateError) as caught:
        load_datalist(tmp_path, "training", slicing={"axis": None, "window": "abdomen"})
    assert "was cut with axis=axial; this run was trained on pictures" in str(caught.value)
    assert "use a run that was trained on this data set" in str(caught.value)


# --- augmentation --------------------------------------------------------------------------------------------


@pytest.fixture
def augmented(items: list[Any], way: Any, augmentation: Any) -> Callable[[int, int], AugmentedDataset]:
    data = CacheDataset(items, way, progress=False)

    def make(seed: int, epoch: int) -> AugmentedDataset:
        dataset = AugmentedDataset(data, augmentation, seed)
        dataset.set_epoch(epoch)
        return dataset

    return make


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in ("image", "label"))


def test_seed_epoch_and_index_decide_the_draws(augmented: Callable[[int, int], AugmentedDataset]) -> None:
    one, again = augmented(3, 2), augmented(3, 2)
    assert all(same(one[i], again[i]) for i in range(len(one)))


@pytest.mark.parametrize(("seed", "epoch"), [(3, 1), (4, 2)])
def test_another_seed_or_epoch_draws_anew(
    augmented: Callable[[int, int], AugmentedDataset], seed: int, epoch: int
) -> None:
    one, other = augmented(3, 2), augmented(seed, epoch)
    assert sum(same(one[i], other[i]) for i in range(len(one))) < len(one) // 2


def test_the_order_of_access_does_not_matter(augmented: Callable[[int, int], AugmentedDataset]) -> None:
    dataset = augmented(0, 5)
    forward = [dataset[i] for i in range(len(dataset))]
    order = list(range(len(dataset))) * 2
    random.Random(0).shuffle(order)
    assert all(same(dataset[i], forward[i]) for i in order)


def test_the_draws_do_not_depend_on_the_global_state(augmented: Callable[[int, int], AugmentedDataset]) -> None:
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        drawn.append(augmented(0, 1)[2])
    assert same(*drawn)


def test_equal_items_are_not_augmented_alike() -> None:
    noise = Compose([RandGaussianNoised("image", prob=1.0)])
    dataset = AugmentedDataset(Dataset([{"image": torch.zeros(1, 4, 4)}] * 8), noise)
    assert len({float(torch.as_tensor(dataset[i]["image"]).sum()) for i in range(8)}) == 8


def test_transforms_inside_others_draw_by_themselves() -> None:
    def noise(key: str) -> RandGaussianNoised:
        return RandGaussianNoised(key, prob=1.0)

    dataset = AugmentedDataset(
        Dataset([{"image": torch.zeros(1, 4, 4), "label": torch.zeros(1, 4, 4)}]),
        Compose([noise("image"), Compose([noise("label")])]),
    )
    item, again = dataset[0], dataset[0]
    assert not torch.equal(item["image"], item["label"])
    assert same(item, again)


def test_metadata_are_tracked_elsewhere_also_after_an_error() -> None:
    def fail(_: Any) -> None:
        assert not get_track_meta()
        raise ValueError("broken")

    dataset = AugmentedDataset(Dataset([{"image": torch.zeros(1, 4, 4)}]), Compose([fail]))
    with pytest.raises(RuntimeError, match="applying transform"):
        dataset[0]
    assert get_track_meta()


def test_what_the_network_gets_is_plain_float32(augmented: Callable[[int, int], AugmentedDataset]) -> None:
    item = augmented(0, 1)[0]
    assert item.keys() == {"image", "label"}
    assert {(type(value), value.dtype) for value in item.values()} == {(torch.Tensor, torch.float32)}
    assert set(item["label"].unique().tolist()) <= {0, 1}


def test_image_and_mask_are_moved_alike(way: Any, augmentation: Any, tmp_path: Path) -> None:
    mask = np.zeros((16, 24), np.uint8)
    mask[2:9, 3:15] = 255
    Image.fromarray(mask).save(tmp_path / "a.png")
    data = Dataset([{"image": str(tmp_path / "a.png"), "label": str(tmp_path / "a.png")}], way)
    dataset = AugmentedDataset(data, augmentation)
    for epoch in range(10):
        dataset.set_epoch(epoch)
        item = dataset[0]
        assert ((item["image"].mean(0) > 0.5) == item["label"][0].bool()).float().mean() > 0.9


def test_augmentation_leaves_the_cache_as_it_was(items: list[Any], way: Any, augmentation: Any) -> None:
    data = CacheDataset(items, way, progress=False)
    before = [(item["image"].clone(), len(item["image"].applied_operations)) for item in data]
    dataset = AugmentedDataset(data, augmentation)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for index in range(len(dataset)):
            dataset[index]
    for item, (pixels, operations) in zip(data, before, strict=True):
        assert torch.equal(torch.as_tensor(item["image"]), torch.as_tensor(pixels))
        assert len(item["image"].applied_operations) == operations


# --- streaming -----------------------------------------------------------------------------------------------


def refuse_b(item: dict[str, str]) -> str:
    if item["image"] == "b.png":
        raise InputError("b.png", "is empty (0 bytes)", "copy it again")
    return item["image"]


STREAM = [{"image": f"{name}.png"} for name in "abc"]


@pytest.mark.parametrize("transform", [refuse_b, Compose([refuse_b])], ids=["bare", "wrapped by MONAI"])
def test_a_refused_item_is_named_and_the_rest_goes_on(transform: Any, caplog: pytest.LogCaptureFixture) -> None:
    stream = StreamDataset(STREAM, transform)
    with caplog.at_level(logging.ERROR, "delineate"):
        assert list(stream) == ["a.png", "c.png"]
    assert caplog.messages == ["b.png: is empty (0 bytes); copy it again"]
    assert [error.source for error in stream.refused] == ["b.png"]


def test_refused_items_go_to_on_error(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[InputError] = []
    stream = StreamDataset(STREAM, refuse_b, seen.append)
    assert len(list(stream)) == 2
    assert [error.reason for error in seen] == ["is empty (0 bytes)"]
    assert caplog.messages == []


def test_a_second_pass_counts_anew() -> None:
    stream = StreamDataset(STREAM, refuse_b, lambda _: None)
    assert [len(list(stream)) for _ in range(2)] == [2, 2]
    assert len(stream.refused) == 1


@pytest.mark.parametrize("wrap", [False, True])
def test_other_errors_are_not_swallowed(wrap: bool) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    stream = StreamDataset(STREAM, Compose([fail]) if wrap else fail)
    with pytest.raises((ZeroDivisionError, RuntimeError)):
        list(stream)
    assert stream.refused == []


def test_items_are_read_one_by_one() -> None:
    read: list[str] = []
    stream = iter(StreamDataset(STREAM, lambda item: read.append(item["image"])))
    next(stream)
    assert read == ["a.png"]


def test_a_refusal_is_found_behind_what_it_caused() -> None:
    cause = InputError("a", "b", "c")
    error = RuntimeError("applying transform")
    error.__cause__ = ValueError("between")
    error.__cause__.__context__ = cause
    assert refusal(error) is cause
    assert refusal(RuntimeError()) is None
    assert refusal(None) is None
