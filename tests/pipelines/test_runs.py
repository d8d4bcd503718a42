from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.bundles import part, shipped_bundles
from delineate.pipelines.errors import DelineateError
from delineate.pipelines.runs import begin_run, check_resumable, parse_settings


@pytest.fixture
def run(tmp_path: Path) -> Path:
    begin_run(shipped_bundles()["skin_lesion"], tmp_path / "run", {"max_epochs": 7}, [part("networks", "unet")])
    return tmp_path / "run"


def test_a_run_is_resumed_without_settings(run: Path) -> None:
    check_resumable(run, {}, [])


def test_a_run_is_resumed_with_the_settings_it_was_begun_with(run: Path) -> None:
    check_resumable(run, {"max_epochs": 7}, [part("networks", "unet")])


@pytest.mark.parametrize(("values", "network"), [({"max_epochs": 8}, "unet"), ({}, "ultra_light_unet")])
def test_a_run_is_not_resumed_with_other_settings(run: Path, values: dict[str, int], network: str) -> None:
    with pytest.raises(DelineateError, match="begun with other settings"):
        check_resumable(run, values, [part("networks", network)])


def test_checking_changes_nothing(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    check_resumable(run, {"max_epochs": 7}, [])
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(DelineateError, match="leave out --resume"):
        check_resumable(tmp_path, {}, [])


def test_settings_are_read_as_yaml() -> None:
    assert parse_settings(["a::b=[1, 2]", "c=null", "d=x=y"]) == {"a::b": [1, 2], "c": None, "d": "x=y"}


@pytest.mark.parametrize("setting", ["max_epochs", "=3", "a={"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    with pytest.raises(DelineateError, match="--set"):
        parse_settings([setting])
