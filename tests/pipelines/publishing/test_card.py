from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from delineate.pipelines.bundling.bundles import part_file, shipped_bundles
from delineate.pipelines.bundling.card_text import CARD, card_of
from delineate.pipelines.core.sums import sha256
from delineate.pipelines.datasets.seen import SEEN, read_seen
from delineate.pipelines.publishing.card import card_text, terms_text
from delineate.pipelines.publishing.notes import read_notes

LARGEST = 15 << 20
WITH_WEIGHTS = {name: folder for name, folder in shipped_bundles().items() if (folder / "models").is_dir()}


def facts_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / CARD).read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_shipped_bundle_has_the_card_of_its_own_weights_and_notes(name: str) -> None:
    folder = WITH_WEIGHTS[name]
    facts, card = facts_of(folder), card_of(folder)
    assert facts["weights"] == sha256(folder / "models" / "model.pt")
    assert facts["notes"] == read_notes(part_file("tasks", name) / "model_card.yaml")
    assert card is not None
    written = tuple(text.strip() for text in card)
    assert written == (card_text(facts).strip(), terms_text(facts).strip()), "stale: publish the bundle from itself"


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_a_shipped_bundle_is_light_and_says_what_it_has_seen(name: str) -> None:
    folder = WITH_WEIGHTS[name]
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= LARGEST
    images = facts_of(folder)["training"]["data"]["images"]
    most = sum(count for place, count in images.items() if place != "test")
    assert 0.99 * most <= len(read_seen(folder / SEEN)) / 2 <= most  # file and pixels each; equal files are one
