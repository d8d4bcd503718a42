from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pytest
from typer.testing import CliRunner

from delineate.networks import list_networks, network_facts
from delineate.pipelines.cli import app


def printed(*words: str) -> str:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    lines = [line.split("\t") for line in printed("networks").splitlines()]
    return {line[0]: line[1:] for line in lines}


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(printed("networks", "--json"))}


def test_every_network_has_a_row(rows: dict[str, list[str]]) -> None:
    assert list(rows)[1:] == list_networks()


def test_a_table_in_a_pipe_begins_with_the_names_of_its_columns(rows: dict[str, list[str]]) -> None:
    assert next(iter(rows.items())) == ("name", ["parameters", "MACs", "smallest", "divisor", "DOI"])


def test_a_row_tells_parameters_macs_sizes_and_reference(rows: dict[str, list[str]]) -> None:
    assert rows["unet"] == ["31,037,633", "48.17 G at 256", "16", "1", "10.1007/978-3-319-24574-4_28"]


def test_a_network_that_does_not_take_256_pixels_names_the_image_it_was_counted_for(rows: dict[str, list[str]]) -> None:
    assert rows["classic_unet"][1:4] == ["18.40 G at 268", "188", "16"]


@pytest.mark.parametrize("name", list_networks())
def test_every_reference_is_a_doi(name: str, rows: dict[str, list[str]]) -> None:
    assert rows[name][-1].startswith("10.")


def test_info_is_lines_that_people_read() -> None:
    lines = dict(line.split("\t") for line in printed("info").splitlines())
    assert lines["version: monai"] == version("monai")
    assert lines["networks"].startswith("unet, ")
    assert not any(sign in text for text in lines.values() for sign in "{}[]'")


def test_json_holds_all_facts(facts: dict[str, Any]) -> None:
    assert list(facts) == list_networks()
    assert facts["ultra_light_unet"] == asdict(network_facts("ultra_light_unet"))
