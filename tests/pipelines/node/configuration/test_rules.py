from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_parts import CT, SEGMENTATION, config_of, facts_of

from delineate.pipelines.node.configuration.rules import kind_of, matching_rules, why_not_segmented


def names(match: dict[str, Any], **facts: Any) -> list[str]:
    config = config_of(Path(), rules=[{"name": "it", "bundle": "b", "match": match}, {"name": "all", "bundle": "b"}])
    return [rule.name for rule in matching_rules(config, facts_of(**facts))]


@pytest.mark.parametrize(
    "match",
    [
        {"modality": "CT"},
        {"modality": ["MR", "ct"]},
        {"modality": "C?"},
        {"sop_class": CT},
        {"sop_class": "ct image*"},
        {"body_part": "CHEST"},
        {"station": "room-[12]*"},
        {"series_description": "*lung*"},
        {"modality": "CT", "series_description": ["*thin*", "lung *"]},
        {},
    ],
)
def test_a_rule_is_for_a_series_that_all_its_keys_fit(match: dict[str, Any]) -> None:
    facts = {"body_part": "Chest ", "station": "ROOM-1A", "series_description": "Lung 1.0 mm"}
    assert names(match, **facts) == ["it", "all"]


@pytest.mark.parametrize(
    "match",
    [
        {"modality": "MR"},
        {"modality": "C"},
        {"sop_class": "CT"},
        {"body_part": "CHEST"},
        {"modality": "CT", "series_description": "*lung*"},
    ],
)
def test_a_rule_is_not_for_a_series_that_one_of_its_keys_does_not_fit(match: dict[str, Any]) -> None:
    assert names(match) == ["all"]


def test_a_pattern_of_what_is_missing_fits_only_everything() -> None:
    assert names({"body_part": "*"}) == ["it", "all"]
    assert names({"body_part": "?*"}) == ["all"]


@settings(deadline=None)
@given(text=st.text(max_size=20))
def test_what_strangers_write_is_no_pattern(text: str) -> None:
    assert names({"series_description": "lung"}, series_description=text) == (
        ["it", "all"] if text.strip().casefold() == "lung" else ["all"]
    )


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"modality": "SEG", "sop_class": SEGMENTATION, "image": False}, "a Segmentation"),
        ({"modality": "SR", "image": False}, "a report"),
        ({"modality": "PR", "image": False}, "a presentation state"),
        ({"modality": "KO", "image": False}, "a selection of images"),
        ({"modality": "OT", "sop_class": "1.2.840.10008.5.1.4.1.1.7"}, "a Secondary Capture"),
        ({"modality": "OT", "sop_class": "1.2.840.10008.5.1.4.1.1.7.4"}, "a Secondary Capture"),
        ({"manufacturer": "Delineate"}, "a result of Delineate"),
        ({"manufacturer": " DELINEATE"}, "a result of Delineate"),
        (
            {"modality": "DOC", "sop_class": "1.2.840.10008.5.1.4.1.1.104.1", "image": False},
            "no image (Encapsulated PDF",
        ),
        ({"modality": "", "sop_class": "../../x", "image": False}, "no image (../../x)"),
    ],
)
def test_results_and_what_is_no_image_are_not_segmented(facts: dict[str, Any], reason: str) -> None:
    assert why_not_segmented(facts_of(**facts)).startswith(f"not segmented: {reason}")


def test_an_image_is_segmented() -> None:
    assert why_not_segmented(facts_of(manufacturer="Siemens")) == ""


def test_a_series_that_no_rule_is_for_is_told_in_words() -> None:
    assert kind_of(facts_of(body_part="CHEST")) == "CT, CT Image Storage, CHEST"
    assert kind_of(facts_of(modality="", sop_class="1.2.3", station="a\nb")) == r"no modality, 1.2.3, a\nb"
