from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from delineate.pipelines.bundling.gate import UnverifiedError
from delineate.pipelines.bundling.verify.findings import Finding
from delineate.pipelines.comparison import pictures
from delineate.pipelines.comparison.judged import Judged
from delineate.pipelines.imaging.item import Item


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


def test_images_of_a_cross_validation_are_outlined_by_the_networks_of_their_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def segmenter(_: Judged, run: Path, known_hash: str, *__: Any) -> Any:
        return SimpleNamespace(of=(run.name, known_hash), structures=(), slicing=None)

    monkeypatch.setattr(pictures, "_segmenter", segmenter)
    monkeypatch.setattr(pictures, "_mask", lambda segmenter, item: (segmenter.of, item.file.name))
    folds = [{"fold": fold, "seed": 0, "bundle": {"path": f"/run{fold}", "hash": f"hash{fold}"}} for fold in (0, 1)]
    judged = Judged("a", tmp_path, {"cross_validation": {"of_each": folds}}, [], tmp_path)
    rows = [{"image": f"{index}.png", "fold": str(index % 2)} for index in range(4)]
    items = {index: Item(image=(Path(f"{index}.png"),)) for index in (1, 2, 3)}
    found = pictures._outline(judged, rows, items, {}, trust=False)
    assert found.masks == {
        1: (("run1", "hash1"), "1.png"),
        2: (("run0", "hash0"), "2.png"),
        3: (("run1", "hash1"), "3.png"),
    }


def test_a_network_that_is_not_verified_is_named_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding("report.html", 1, "code", "it can carry code")

    def refuse(*_: Any) -> Any:
        raise UnverifiedError(tmp_path, (finding,))

    monkeypatch.setattr(pictures, "_items", lambda _: {("x.png", "", ""): Item(image=(Path("x.png"),))})
    monkeypatch.setattr(pictures, "_outline", refuse)
    entry = {"a": "a", "b": "b", "row": 0, "image": "x.png", "series": None, "slice": None}
    judged = [Judged(name, tmp_path, {}, []) for name in "ab"]
    notes = pictures.draw_largest(judged, [[], []], [[entry]], tmp_path, tmp_path, {}, trust=False)
    assert [str(finding) in note for note in notes] == [True, True]
    assert "verification has 1 finding: report.html" in notes[0]
