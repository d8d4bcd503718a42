from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import part_file, shipped_bundles
from delineate.pipelines.cli.demo import BUNDLES, bundle_for, by_shipped
from delineate.pipelines.datasets.datalist import Datalist
from delineate.pipelines.datasets.layouts import LAYOUTS
from delineate.pipelines.imaging.structures import structures_of


def test_the_demo_knows_layouts_and_bundles_that_there_are() -> None:
    assert set(BUNDLES) <= set(LAYOUTS)
    assert set(BUNDLES.values()) <= set(shipped_bundles())


@pytest.mark.parametrize(
    ("layout", "structures", "bundle"),
    [
        ("kvasir", [], "polyp"),
        ("paired", [], "skin_lesion"),
        ("paired", ["heart", "left lung", "right lung", "left clavicle", "right clavicle"], "chest_xray"),
        ("paired", ["disc", "cup"], "skin_lesion"),
    ],
)
def test_the_demo_takes_the_bundle_that_suits_the_data(layout: str, structures: list[str], bundle: str) -> None:
    """What suits none is refused by the training, which names the structures of both."""
    named = structures_of([{"name": name} for name in structures])
    assert bundle_for(Datalist(folder=Path(), layout=layout, structures=named)) == bundle


def test_the_demo_shows_what_shipped_weights_draw_once_there_are_any(phantom_run: Path, phantom_data: Path) -> None:
    images = sorted((phantom_data.parent / "phantoms" / "images").iterdir())[:2]
    names = [picture.name for picture in by_shipped(phantom_run, images)]
    assert [name.partition(",")[0] for name in names] == [image.name for image in images]
    assert by_shipped(part_file("tasks", "nerve"), images) == []
