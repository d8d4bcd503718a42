"""YAML of bundles: what libyaml reads is what MONAI reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.core.yaml_files import read_yaml

FILES = [path for folder in shipped_bundles().values() for path in sorted((folder / "configs").glob("*.yaml"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}/{path.name}")
def test_the_values_are_those_that_monai_reads(path: Path) -> None:
    assert read_yaml(path) == ConfigParser.load_config_file(str(path))
