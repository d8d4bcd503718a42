from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from delineate.pipelines.bundling.bundles import (
    MULTI_GPU,
    SCHEMA,
    WORKFLOWS,
    change_bundle,
    choices,
    copy_bundle,
    find_bundle,
    has_weights,
    new_bundle,
    part_file,
    shipped_bundles,
)
from delineate.pipelines.bundling.card_text import CARD, without_card
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.core.errors import DelineateError, UnknownNameError

FILES = {
    "LICENSE",
    *(f"configs/{name}" for name in ("metadata.json", "logging.conf", MULTI_GPU, *(f"{w}.yaml" for w in WORKFLOWS))),
    *(f"docs/{name}" for name in ("README.md", "data_license.txt", SCHEMA)),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return new_bundle(tmp_path / "bundle", "skin_lesion")


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def text(bundle: Path, workflow: str) -> str:
    return (bundle / "configs" / f"{workflow}.yaml").read_text(encoding="utf-8")


def config(bundle: Path, workflow: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / f"{workflow}.yaml"))
    return parser


def comments(bundle: Path, workflow: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text(bundle, workflow).splitlines() if "#" in line]


def tensors(bundle: Path) -> dict[str, Any]:
    formats = json.loads((bundle / "configs/metadata.json").read_text())["network_data_format"]
    return {"image": formats["inputs"]["image"], "pred": formats["outputs"]["pred"]}


# --- shipped -------------------------------------------------------------------------------------------------


def test_a_bundle_is_shipped_for_each_task() -> None:
    assert sorted(shipped_bundles()) == choices("tasks")


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_is_what_new_bundle_builds_today(name: str, tmp_path: Path) -> None:
    built, shipped = files(new_bundle(tmp_path / name, name)), files(shipped_bundles()[name])
    shipped = {path: content for path, content in shipped.items() if not path.startswith(("models/", "logs/"))}
    shipped.pop(CARD.as_posix(), None)
    for document in ("docs/README.md", "docs/data_license.txt"):
        shipped[document] = without_card(shipped[document].decode()).encode()
    stale = sorted(path for path in built | shipped if built.get(path) != shipped.get(path))
    assert not stale, f"bundles/{name} is stale ({', '.join(stale)}); run: make bundles"


@pytest.mark.parametrize("name", [name for name, folder in shipped_bundles().items() if has_weights(folder)])
def test_a_training_without_a_flag_is_as_long_as_that_of_the_shipped_weights(name: str) -> None:
    folder = shipped_bundles()[name]
    told = json.loads((folder / CARD).read_text(encoding="utf-8"))["training"]
    assert config(folder, "train")["max_epochs"] == told["epochs"]


@pytest.mark.parametrize("name", shipped_bundles())
def test_a_shipped_bundle_passes_verification(name: str) -> None:
    assert verify_bundle(shipped_bundles()[name]) == []


# --- found ---------------------------------------------------------------------------------------------------


def test_a_bundle_is_found_by_name_and_by_folder(bundle: Path) -> None:
    assert find_bundle("skin_lesion") == shipped_bundles()["skin_lesion"]
    assert find_bundle(bundle) == find_bundle(str(bundle)) == bundle


def test_a_wrong_bundle_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'skin_lesion'"):
        find_bundle("skin_lesions")


def test_a_folder_that_is_not_there_is_called_so_and_nothing_unlike_it_suggested() -> None:
    with pytest.raises(UnknownNameError, match=r"^no folder, and no shipped bundle, is called 'nothere'; there are: "):
        find_bundle("nothere")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match=r"is no bundle: it has no configs/inference\.yaml"):
        find_bundle(tmp_path)


@pytest.mark.parametrize(
    ("kind", "name", "closest"),
    [("networks", "unett", "unet"), ("losses", "dicebce", "dice_bce"), ("tasks", "skin", "skin_lesion")],
)
def test_a_wrong_part_is_answered_with_the_closest(kind: str, name: str, closest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{closest}'"):
        part_file(kind, name)


# --- made ----------------------------------------------------------------------------------------------------


PARTS = [
    *((task, "ultra_light_unet", loss) for task in choices("tasks") for loss in choices("losses") if loss != "ce"),
    *(("nerve", network, "dice_bce") for network in choices("networks")),
]
"""Ids of tasks, networks and losses are disjoint, so what stands alone stands with the others."""


@pytest.mark.parametrize(("task", "network", "loss"), PARTS)
def test_any_parts_make_a_bundle_that_passes(tmp_path: Path, task: str, network: str, loss: str) -> None:
    bundle = new_bundle(tmp_path / "new", task, network, loss)
    assert files(bundle).keys() == FILES
    assert verify_bundle(bundle) == []


def test_the_network_and_loss_are_those_asked_for(tmp_path: Path) -> None:
    bundle = new_bundle(tmp_path / "new", "breast_lesion", "unet", "bce")
    for workflow in WORKFLOWS:
        assert config(bundle, workflow)["network_def"]["_target_"] == "delineate.networks.UNet"
    assert config(bundle, "train")["loss"]["loss"]["_target_"] == "torch.nn.BCEWithLogitsLoss"


def test_no_id_is_defined_twice(bundle: Path) -> None:
    for workflow in WORKFLOWS:
        ids = [line.partition(":")[0] for line in text(bundle, workflow).splitlines() if line[:1].isalpha()]
        assert len(set(ids)) == len(ids)


def test_the_readme_names_the_bundle(tmp_path: Path) -> None:
    readmes = [
        (new_bundle(tmp_path / folder, "skin_lesion", name=name) / "docs/README.md").read_text()
        for folder, name in (("mine", None), ("other", "mine"))
    ]
    assert "mine" in readmes[0]
    assert readmes[0] == readmes[1]


@pytest.mark.parametrize("task", choices("tasks"))
def test_the_metadata_tells_the_networks_true_channels_and_sizes(tmp_path: Path, task: str) -> None:
    bundle = new_bundle(tmp_path / "new", task)
    inference = config(bundle, "inference")
    image, pred = tensors(bundle).values()
    assert (image["num_channels"], pred["num_channels"]) == (inference["in_channels"], inference["out_channels"])
    assert image["spatial_shape"] == pred["spatial_shape"] == inference["image_size"]
    assert len(image["channel_def"]) == image["num_channels"]


def test_an_occupied_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DelineateError, match="there already and not empty; name a new folder"):
        new_bundle(tmp_path, "skin_lesion")
    assert files(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DelineateError, match="there already"):
        new_bundle(tmp_path / "file", "skin_lesion")


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert files(new_bundle(tmp_path, "skin_lesion")).keys() == FILES


@pytest.mark.parametrize("wrong", [{"task": "x"}, {"network": "x"}, {"loss": "x"}])
def test_a_wrong_part_leaves_no_folder_behind(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError):
        new_bundle(tmp_path / "new", **{"task": "skin_lesion", **wrong})
    assert not (tmp_path / "new").exists()


# --- copied --------------------------------------------------------------------------------------------------


def test_a_copy_has_the_configuration_but_no_weights_or_logs(bundle: Path, tmp_path: Path) -> None:
    for name in ("models/model.pt", "logs/history.csv", "cache/a.pt"):
        (bundle / name).parent.mkdir()
        (bundle / name).touch()
    copy_bundle(bundle, tmp_path / "run")
    assert files(tmp_path / "run").keys() == FILES


def test_a_copy_does_not_overwrite(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine").touch()
    with pytest.raises(DelineateError, match="there already"):
        copy_bundle(bundle, tmp_path / "run")


@pytest.mark.parametrize(("probability", "there"), [(0, False), (0.3, True)])
def test_images_are_bent_where_it_is_asked_for(bundle: Path, probability: float, there: bool) -> None:
    change_bundle(bundle, {"elastic": probability})
    found = [type(one).__name__ for one in config(bundle, "train").get_parsed_content("train::spatial_augmentation")]
    assert ("Rand2DElasticd" in found) is there


# --- changed -------------------------------------------------------------------------------------------------


def test_nothing_but_the_value_changes(bundle: Path) -> None:
    before = text(bundle, "train")
    change_bundle(bundle, {"max_epochs": 7})
    assert "max_epochs: 14" in before
    assert config(bundle, "train")["max_epochs"] == 7
    changed = [(a, b) for a, b in zip(before.splitlines(), text(bundle, "train").splitlines(), strict=True) if a != b]
    assert [a.replace("14", "7").split() for a, _ in changed] == [b.split() for _, b in changed]


def test_comments_stay(bundle: Path) -> None:
    before = {workflow: comments(bundle, workflow) for workflow in WORKFLOWS}
    change_bundle(bundle, {"max_epochs": 7, "train::trainer::max_epochs": 8, "threshold": 0.3})
    assert {workflow: comments(bundle, workflow) for workflow in WORKFLOWS} == before
    assert len(before["train"]) > 20


def test_what_an_overlay_replaces_stands_under_its_heading(bundle: Path) -> None:
    change_bundle(bundle, {}, [part_file("networks", "cmunext"), part_file("losses", "dice")])
    for workflow in WORKFLOWS:
        headings = [line for line in text(bundle, workflow).splitlines() if line.startswith("# --- the network:")]
        assert [heading.split(",")[0] for heading in headings] == ["# --- the network: CMUNeXt"]
    assert [line for line in comments(bundle, "train") if line.startswith("--- the loss: Dice -")]


def test_an_id_changes_in_every_workflow_that_has_it(bundle: Path) -> None:
    change_bundle(bundle, {"precision": "float32"})
    assert {config(bundle, workflow)["precision"] for workflow in WORKFLOWS} == {"float32"}


@pytest.mark.parametrize(
    ("id_", "value"),
    [
        ("train::trainer::max_epochs", 3),
        ("network_def::decoder_channels", [8, 8, 8, 8]),
        ("train::handlers::8::patience", 4),
        ("optimizer::weight_decay", 0.0),
        ("cache_budget_gb", 1.5),
        ("device", "$torch.device('cpu')"),
    ],
)
def test_nested_ids_are_set(bundle: Path, id_: str, value: Any) -> None:
    change_bundle(bundle, {id_: value})
    assert config(bundle, "train")[id_] == value
    assert verify_bundle(bundle) == []


@pytest.mark.parametrize(
    ("id_", "closest"), [("max_epoch", "max_epochs"), ("train::trainer::max_epoch", "train::trainer::max_epochs")]
)
def test_an_unknown_id_is_answered_with_the_closest(bundle: Path, id_: str, closest: str) -> None:
    before = files(bundle)
    with pytest.raises(UnknownNameError, match=f"did you mean '{closest}'"):
        change_bundle(bundle, {"precision": "float32", id_: 3})
    assert files(bundle) == before


def test_a_changed_size_and_channels_reach_the_metadata(bundle: Path) -> None:
    change_bundle(bundle, {"image_size": [96, 128], "in_channels": 1, "channels": "grey"})
    image, pred = tensors(bundle).values()
    assert image["spatial_shape"] == pred["spatial_shape"] == [96, 128]
    assert (image["num_channels"], pred["num_channels"]) == (1, 1)


@pytest.mark.parametrize("size", [128, "128", [128], [0, 128], [128, 128, 3], "$[128, 128]", [64.5, 64], None])
def test_a_size_that_is_not_rows_and_columns_is_refused(bundle: Path, size: Any) -> None:
    before = files(bundle)
    with pytest.raises(DelineateError, match=r"image_size is .*; set rows and columns, e\.g\. image_size=\[256, 256\]"):
        change_bundle(bundle, {"image_size": size})
    assert files(bundle) == before


def test_a_network_overlay_changes_all_workflows_and_keeps_the_channels(bundle: Path) -> None:
    change_bundle(bundle, {}, [part_file("networks", "unet")])
    for workflow in WORKFLOWS:
        network = config(bundle, workflow)["network_def"]
        assert (network["_target_"], network["in_channels"]) == ("delineate.networks.UNet", "@in_channels")
    assert verify_bundle(bundle) == []


def test_what_is_said_behind_a_part_that_is_replaced_stays(bundle: Path) -> None:
    def parts(content: str) -> list[str]:
        return [line.partition(":")[0] for line in content.splitlines() if line.startswith("# ---")]

    before = parts(text(bundle, "train"))
    change_bundle(bundle, {"to_network": []}, [part_file("networks", "unet"), part_file("losses", "dice")])
    changed = text(bundle, "train")
    assert parts(changed) == before
    assert changed.count("\n\n# ---") == len(before) - 1  # the first begins the file


def test_a_loss_overlay_changes_training(bundle: Path) -> None:
    change_bundle(bundle, {}, [part_file("losses", "dice")])
    assert config(bundle, "train")["loss"]["loss"]["_target_"] == "monai.losses.DiceLoss"
    assert "monai.losses" not in text(bundle, "inference")


def test_a_loss_overlay_fits_a_bundle_of_before_structures_had_names(bundle: Path) -> None:
    old = yaml.safe_load(text(bundle, "train"))
    del old["exclusive"]
    (bundle / "configs/train.yaml").write_text(yaml.safe_dump(old))
    change_bundle(bundle, {}, [part_file("losses", "dice")])
    assert config(bundle, "train")["exclusive"] is False


def test_values_win_over_overlays(bundle: Path) -> None:
    change_bundle(bundle, {"network_def::features": [4, 8]}, [part_file("networks", "unet")])
    assert config(bundle, "inference")["network_def"]["features"] == [4, 8]
    assert config(bundle, "inference")["network_def"]["_target_"] == "delineate.networks.UNet"
