"""A bundle for a structure of one's own, without a fork of the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from delineate.pipelines.bundling.bundles import choices
from delineate.pipelines.bundling.verify import verify_bundle
from delineate.pipelines.cli import app

OWN = ("--structures", "wound", "--channels", "rgb")


def new(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["bundle", "new", str(folder), *words])


def made(folder: Path, *words: str) -> Path:
    result = new(folder, *words)
    assert result.exit_code == 0, result.exception
    return folder


@pytest.mark.parametrize("channels", ["rgb", "grey"])
@pytest.mark.parametrize("words", [(), ("--name", "Chronic wound", "--modality", "photo", "--network", "unet")])
def test_it_passes_verification(tmp_path: Path, channels: str, words: tuple[str, ...]) -> None:
    assert verify_bundle(made(tmp_path / "b", "--structures", "wound", "--channels", channels, *words)) == []


def test_its_documents_say_what_was_asked_for_and_nothing_else(tmp_path: Path) -> None:
    words = ("--name", "Chronic wound", "--description", "Outlines a wound.", "--modality", "photo")
    folder = made(tmp_path / "b", *OWN, *words)
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    tensors = metadata["network_data_format"]
    assert (metadata["name"], metadata["description"]) == ("Chronic wound", "Outlines a wound.")
    assert tensors["inputs"]["image"]["modality"] == "photo"
    assert tensors["inputs"]["image"]["num_channels"] == 3
    assert tensors["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "wound"}
    for file in (*folder.glob("docs/*"), *folder.glob("configs/*")):
        text = file.read_text().lower()
        assert not [word for word in ("isic", "dermoscopy", "lesion") if word in text], file


def test_grey_takes_one_channel(tmp_path: Path) -> None:
    folder = made(tmp_path / "b", "--structures", "wound", "--channels", "grey")
    image = json.loads((folder / "configs" / "metadata.json").read_text())["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], image["channel_def"]) == (1, {"0": "grey"})


@pytest.mark.parametrize("words", [OWN, ("--task", "nerve")])
def test_ids_are_set_on_the_way(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = made(tmp_path / "b", *words, "--set", "image_size=[96, 64]", "--set", "max_epochs=7")
    image = json.loads((folder / "configs" / "metadata.json").read_text())["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == [96, 64]
    assert "max_epochs: 7 " in (folder / "configs" / "train.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "say what is outlined: --task skin_lesion, or --structures wound"),
        ((*OWN, "--task", "nerve"), "say what is outlined"),
        (("--task", "nerve", "--channels", "rgb", "--name", "x"), "--channels, --name go with --structures"),
        (("--structures", "wound"), "goes with --channels"),
        (("--structures", "wound,wound", "--channels", "rgb"), "names 'wound' twice"),
        (("--structures", "background", "--channels", "rgb"), "the background is no structure"),
        (("--structures", "a: {b", "--channels", "rgb"), "name what is outlined"),
        (("--structures", ",", "--channels", "rgb"), "name what is outlined"),
        ((*OWN, "--loss", "ce"), "the loss ce is not for structures that may overlap; take dice_bce"),
        ((*OWN, "--exclusive", "--loss", "bce"), "the loss bce is not for structures that are exclusive"),
        (("--task", "nerve", "--exclusive"), "--exclusive go with --structures"),
        ((*OWN, "--name", "two\nlines"), "--name is .*write one line of text"),
        ((*OWN, "--set", "max_epoch=3"), "did you mean 'max_epochs'"),
        ((*OWN, "--set", "image_size=64"), "set rows and columns"),
        ((*OWN, "--network", "unett"), "did you mean 'unet'"),
        ((*OWN, "--set", "network_def::_target_=my.Net"), "my.Net is not an allowed target.*no code of one's own"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, words: tuple[str, ...], reason: str) -> None:
    result = new(tmp_path / "b", *words)
    assert result.exception is not None
    with pytest.raises(type(result.exception), match=reason):
        raise result.exception
    assert not any(tmp_path.iterdir())


def test_it_is_no_task_of_the_package() -> None:
    """Else there would have to be a shipped bundle of it."""
    assert choices("tasks") == ["breast_lesion", "chest_xray", "ct_slice", "nerve", "polyp", "skin_lesion"]


@pytest.mark.parametrize(("words", "channels"), [((), 3), (("--exclusive",), 4), (("--exclusive", "--loss", "ce"), 4)])
def test_several_structures_have_a_channel_each_and_exclusive_ones_a_background(
    tmp_path: Path, words: tuple[str, ...], channels: int
) -> None:
    folder = made(tmp_path / "b", "--structures", "heart, left lung,aorta", "--channels", "grey", *words)
    assert verify_bundle(folder) == []
    pred = json.loads((folder / "configs/metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    background = ["background"] if words else []
    assert [*pred["channel_def"].values()] == [*background, "heart", "left lung", "aorta"]
    assert pred["num_channels"] == channels


@pytest.mark.parametrize(("structures", "mirrored"), [("left lung,heart", "false"), ("clef,heart", "true")])
def test_what_has_a_side_is_not_mirrored_in_training(tmp_path: Path, structures: str, mirrored: str) -> None:
    folder = made(tmp_path / "b", "--structures", structures, "--channels", "grey")
    assert f"flip_left_right: {mirrored} " in (folder / "configs/train.yaml").read_text()
