from __future__ import annotations

from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="part of Python from 3.11 on")
ROOT = Path(__file__).parents[1]


def test_every_folder_of_code_is_packaged() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    roots = setup["package-dir"]
    assert roots.pop("delineate") == "."  # the repository itself: its other folders are no packages
    there = {"delineate"} | {
        ".".join([package, *path.relative_to(ROOT / folder).parent.parts])
        for package, folder in roots.items()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(there) == sorted(setup["packages"])


def test_every_folder_with_code_has_an_init() -> None:
    for folder in ("networks", "pipelines"):
        without = {path.parent for path in (ROOT / folder).rglob("*.py") if not (path.parent / "__init__.py").is_file()}
        assert without == set()
