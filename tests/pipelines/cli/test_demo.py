from __future__ import annotations

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.cli.demo import BUNDLES
from delineate.pipelines.datasets.layouts import LAYOUTS


def test_the_demo_knows_layouts_and_bundles_that_there_are() -> None:
    assert set(BUNDLES) <= set(LAYOUTS)
    assert set(BUNDLES.values()) <= set(shipped_bundles())
