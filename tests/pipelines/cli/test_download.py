from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import typer
from typer.testing import CliRunner

from delineate.pipelines.cli.download import download
from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.downloads.catalogue import DATASETS, RemoteFile

app = typer.Typer()
app.command()(download)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def obtained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that were asked for; nothing is downloaded."""
    names: list[str] = []

    def obtain(file: RemoteFile, folder: Path, *, progress: Callable[[int, int | None], None]) -> str:
        names.append(file.name)
        if file.name == "training_set_pixel_size_and_HC.csv" and (folder / "wrong").exists():
            raise InputError(file.name, "is a wrong file", "try again")
        return "in order"

    monkeypatch.setattr("delineate.pipelines.downloads.download.obtain", obtain)
    with patch("shutil.disk_usage") as usage:
        usage.return_value.free = 1 << 40
        yield names


@pytest.mark.parametrize("name", ["isic2018", "busi", "hc18"])
def test_each_file_is_obtained_and_the_next_command_is_named(tmp_path: Path, obtained: list[str], name: str) -> None:
    result = run(name, "--out", tmp_path / name, "--yes")
    assert result.exit_code == 0
    assert obtained == [file.name for file in DATASETS[name].files]
    folder = str(tmp_path / name)
    assert result.output.endswith(f"next: delineate data index {folder} --out {folder}-dataset\n")


@pytest.mark.parametrize("name", DATASETS)
def test_the_licence_terms_and_citation_come_first(obtained: list[str], tmp_path: Path, name: str) -> None:
    lines = run(name, "--out", tmp_path, "--yes").output.splitlines()
    dataset = DATASETS[name]
    assert lines[:4] == [dataset.title, dataset.page, f"licence: {dataset.licence}", f"terms: {dataset.terms}"]
    assert lines[4 : 4 + len(dataset.citation)] == [f"cite: {work}" for work in dataset.citation]


@pytest.mark.parametrize(("name", "size"), [("isic2018", "13.81 GB"), ("busi", "not known"), ("hc18", "0.13 GB")])
def test_the_size_is_shown_where_it_is_known(obtained: list[str], tmp_path: Path, name: str, size: str) -> None:
    assert f"size: {size}\n" in run(name, "--out", tmp_path, "--yes").output


def test_without_a_terminal_nobody_consents(obtained: list[str], tmp_path: Path) -> None:
    result = run("hc18", "--out", tmp_path / "out")
    assert isinstance(result.exception, DelineateError)
    assert "--yes" in str(result.exception)
    assert "CC BY 4.0" in result.output
    assert not obtained
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("answer", [True, False])
def test_on_a_terminal_consent_is_asked_for(obtained: list[str], tmp_path: Path, answer: bool) -> None:
    with patch("sys.stdin.isatty", return_value=True), patch("typer.confirm", return_value=answer):
        if answer:
            download("hc18", tmp_path)
        else:
            with pytest.raises(DelineateError, match="not accepted"):
                download("hc18", tmp_path)
    assert bool(obtained) == answer


def test_where_an_account_is_needed_it_says_how_and_fails(obtained: list[str], tmp_path: Path) -> None:
    result = run("nerve", "--out", tmp_path / "out", "--yes")
    assert result.exit_code == 1
    assert "An account is needed" in result.output
    assert f"unzip ultrasound-nerve-segmentation.zip -d {tmp_path / 'out'}" in result.output
    assert not obtained


def test_a_refused_file_is_named_and_the_rest_goes_on(obtained: list[str], tmp_path: Path) -> None:
    (tmp_path / "wrong").touch()
    result = run("hc18", "--out", tmp_path, "--yes")
    assert "refused: training_set_pixel_size_and_HC.csv: is a wrong file" in result.output
    assert obtained[-1] == "training_set.zip"
    assert str(result.exception).startswith("1 of 2 files refused")


def test_a_disk_that_is_too_small_is_told_before_anything_is_asked_for(obtained: list[str], tmp_path: Path) -> None:
    with patch("shutil.disk_usage") as usage:
        usage.return_value.free = 1000
        result = run("hc18", "--out", tmp_path, "--yes")
    assert "0.3 GB are needed" in str(result.exception)
    assert not obtained


def test_another_name_is_refused_with_those_there_are() -> None:
    result = run("isic", "--yes")
    assert "did you mean 'isic2018'" in str(result.exception)


@pytest.mark.parametrize("name", DATASETS)
def test_the_catalogue_is_in_order(name: str) -> None:
    dataset = DATASETS[name]
    assert dataset.citation
    assert bool(dataset.files) != bool(dataset.account)
    for file in dataset.files:
        assert file.url.startswith("https://")
        assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5)
        assert bool(file.holds) == file.name.endswith(".zip")
