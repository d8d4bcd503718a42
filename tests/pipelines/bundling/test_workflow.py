from __future__ import annotations

from typing import Any

import pytest

from delineate.pipelines.bundling.bundles import shipped_bundles
from delineate.pipelines.bundling.gate import admit
from delineate.pipelines.bundling.workflow import run_workflow
from delineate.pipelines.core.errors import DelineateError

pytestmark = pytest.mark.filterwarnings("ignore:parsing config_file")  # MONAI says so of every bundle that is run


def test_a_workflow_is_announced_before_it_starts() -> None:
    told: list[Any] = []
    config = shipped_bundles()["skin_lesion"] / "configs" / "evaluate.yaml"
    with pytest.raises(DelineateError):
        run_workflow(
            admit("skin_lesion"), config, {"bundle_root": str(config.parents[1])}, lambda *words: told.append(words)
        )
    assert told == [(str(config), {"bundle_root": str(config.parents[1])})]
