from __future__ import annotations

from pathlib import Path

from delineate.pipelines.bundling.bundles import part_file, shipped_bundles
from delineate.pipelines.cli.demo import BUNDLES, by_shipped
from delineate.pipelines.datasets.layouts import LAYOUTS


def test_the_demo_knows_layouts_and_bundles_that_there_are() -> None:
    assert set(BUNDLES) <= set(LAYOUTS)
    assert set(BUNDLES.values()) <= set(shipped_bundles())


def test_the_demo_shows_what_shipped_weights_draw_once_there_are_any(phantom_run: Path, phantom_data: Path) -> None:
    images = sorted((phantom_data.parent / "phantoms" / "images").iterdir())[:2]
    names = [picture.name for picture in by_shipped(phantom_run, images)]
    assert [name.partition(",")[0] for name in names] == [image.name for image in images]
    assert by_shipped(part_file("tasks", "nerve"), images) == []
