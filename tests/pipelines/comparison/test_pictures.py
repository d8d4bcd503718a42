from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from delineate.pipelines.comparison import pictures
from delineate.pipelines.comparison.judged import Judged


def test_images_are_outlined_again_with_the_settings_that_were_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    used: dict[str, Any] = {}

    def segmenter(_: Any, **settings: Any) -> Any:
        used.update(settings)
        return SimpleNamespace(structures=(), slicing=None)

    config = {"threshold": 0.4, "tta": None, "device": "cpu"}
    monkeypatch.setattr(pictures, "admit", lambda *_: SimpleNamespace(hash="abc", folder=tmp_path))
    monkeypatch.setattr(pictures, "workflow_config", lambda *_: config)
    monkeypatch.setattr(pictures, "Segmenter", segmenter)
    settings = {"threshold": None, "subgroups": ["size"], "tolerance_mm": 2.0}  # of before, without a threshold
    metrics = {"bundle": {"hash": "abc"}, "tta": "flips", "settings": settings}
    judged = Judged("a", tmp_path, metrics, [], tmp_path)
    pictures._segmenter(judged, *judged.network_of({}), {"device": "cpu"}, trust=False)
    assert used == {"tta": "flips", "device": "cpu"}
