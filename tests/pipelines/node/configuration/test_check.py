from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from node_parts import config_of, uncommented
from structured_bundles import structured_bundle

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.configuration.check import refuse_unusable
from delineate.pipelines.node.configuration.config import read_config


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structured_bundle(tmp_path_factory.mktemp("bundles") / "chest", exclusive=False)


def refusal(folder: Path, **keys: Any) -> str:
    with pytest.raises(DelineateError) as error:
        refuse_unusable(config_of(folder, **keys), "node.yaml")
    assert "\n" not in str(error.value)
    return str(error.value)


def rules(bundle: str | Path, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "it", "bundle": str(bundle), **more}]


def test_what_is_there_is_used(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "ca.crt").touch()
    destination = {"name": "web", "url": "https://x/y", "tls": {"ca": tmp_path / "ca.crt"}}
    settings = {"threshold": {"heart": 0.3}}
    config = config_of(
        tmp_path / "node",
        watch=[tmp_path / "watched"],
        rules=rules(bundle, settings=settings),
        destinations=[destination],
    )
    refuse_unusable(config, "node.yaml")


def test_the_examples_of_the_template_can_be_used(tmp_path: Path, bundle: Path) -> None:
    """Where the files and folders that they name are there, a node does not refuse them."""
    node = tmp_path / "node"
    shutil.copytree(bundle, node / "runs/chest")
    (tmp_path / "to-segment").mkdir()
    (node / "tls").mkdir()
    for name in ("node.crt", "node.key", "hospital-ca.crt", "token"):
        (node / "tls" / name).touch()
    template = files("delineate.pipelines").joinpath("templates/node.yaml").read_text(encoding="utf-8")
    (node / "node.yaml").write_text(uncommented(template), encoding="utf-8")
    refuse_unusable(read_config(node), node)


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    for bundle, shown in (("chest_xry", "chest_xry"), (tmp_path / "a" / ".." / "b", tmp_path / "b")):
        message = f"{shown} is no folder; name the folder of a run that was trained"
        assert refusal(tmp_path, rules=rules(bundle)) == f"node.yaml: rules[0].bundle: {message}"


def test_a_bundle_without_weights_is_named(tmp_path: Path) -> None:
    message = refusal(tmp_path, rules=rules("chest_xray"))
    assert message.startswith("node.yaml: rules[0].bundle: ")
    assert message.endswith("has no weights (models/model.pt); name a run that was trained")


def test_a_bundle_that_does_not_verify_is_named(tmp_path: Path, bundle: Path) -> None:
    foreign = shutil.copytree(bundle, tmp_path / "foreign")
    (foreign / "code.py").write_text("print('hello')")
    message = refusal(tmp_path / "node", rules=rules(foreign))
    assert message.startswith("node.yaml: rules[0].bundle: verification has 1 finding, e.g. code.py")
    refuse_unusable(config_of(tmp_path / "node", rules=rules(foreign, trust=True)), "node.yaml")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"treshold": 0.5}, "no setting is called 'treshold'; did you mean 'threshold'?"),
        ({"threshold": 2}, "threshold"),
        ({"max_epochs": 2}, "max_epochs is a setting of training, not of segmentation"),
        ({"formats": ["png"]}, "formats is given by an option of its own"),
    ],
)
def test_settings_that_the_bundle_does_not_take_are_named(
    settings: dict[str, Any], message: str, tmp_path: Path, bundle: Path
) -> None:
    assert refusal(tmp_path, rules=rules(bundle, settings=settings)).startswith(
        f"node.yaml: rules[0].settings: {message}"
    )


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"callers": []}, "callers: nobody may call and no folder is watched; "),
        ({"watch": ["/none"]}, "watch[0]: /none is no folder; "),
        ({"tls": {"certificate": "/a", "key": "/b", "ca": "/c"}}, "tls.certificate: /a is no file; "),
        (
            {"destinations": [{"name": "pacs", "url": "http://x", "token_file": "/t"}]},
            "destinations[0].token_file: /t is ",
        ),
        (
            {"destinations": [{"name": "pacs", "url": "http://x", "tls": {"ca": "/t"}}]},
            "destinations[0].tls.ca: /t is ",
        ),
    ],
)
def test_files_and_folders_that_are_not_there_are_named(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, **keys).startswith(f"node.yaml: {message}")


@pytest.mark.parametrize("watched", ["", "node", "node/in"])
def test_a_node_does_not_watch_itself(watched: str, tmp_path: Path) -> None:
    (tmp_path / "node" / "in").mkdir(parents=True)
    message = refusal(tmp_path / "node", watch=[tmp_path / watched])
    assert "lie in one another; watch another" in message


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file").startswith("node.yaml: folder: ")
