from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.audit.findings import Member
from delineate.pipelines.audit.images import ImageFacts, count_marks, image_findings, measure_image
from delineate.pipelines.audit.masks import MaskFacts, mask_findings, measure_mask
from delineate.pipelines.audit.outliers import outliers
from delineate.pipelines.imaging.item import Item

from .conftest import disc, picture


def members(count: int) -> list[Member]:
    return [
        Member(Item.of(f"{number}.png", image_sha256=(str(number),)), f"{number}.png", "training")
        for number in range(count)
    ]


def details(facts: list[MaskFacts] | list[ImageFacts]) -> dict[str, str]:
    findings = mask_findings if isinstance(facts[0], MaskFacts) else image_findings
    return {one.items[0]: f"{one.severity}: {one.detail}" for one in findings(members(len(facts)), facts)}  # type: ignore[arg-type, operator]


def mask(*discs: np.ndarray) -> np.ndarray:
    return (np.maximum.reduce(discs) > 0).astype(np.uint8)


def test_a_disc_is_one_part_without_holes_off_the_border() -> None:
    facts = measure_mask(mask(disc()))
    assert (facts.parts, facts.holes, facts.border) == (1, 0, 0)
    assert facts.area == pytest.approx(np.pi * 25**2 / (120 * 160), rel=0.02)


def test_parts_holes_and_border_are_counted() -> None:
    drawn = mask(disc(), disc(10, 150, 15))
    drawn[60, 70] = 0
    facts = measure_mask(drawn)
    assert (facts.parts, facts.holes) == (2, 1)
    assert facts.smallest < 800
    assert facts.border > 0


def test_a_mask_of_all_but_the_object_is_noted_as_inverted_and_a_large_object_is_not() -> None:
    assert "as an inverted mask does" in "".join(
        one.detail for one in mask_findings(members(1), [measure_mask(1 - mask(disc()))])
    )
    assert not measure_mask(mask(disc(radius=75))).inverted


@pytest.mark.parametrize(("value", "told"), [(0, "note: empty"), (1, "problem: covers the whole image")])
def test_empty_masks_are_notes_and_full_ones_problems(value: int, told: str) -> None:
    assert details([measure_mask(np.full((9, 9), value, np.uint8))]) == {"0.png": told}


def test_an_area_far_from_the_others_is_told_with_its_figures() -> None:
    facts = [measure_mask(mask(disc(radius=radius))) for radius in [*range(18, 38), 3]]
    assert details(facts)["20.png"].startswith("note: area 0.1")


def test_a_constant_image_is_a_problem() -> None:
    assert details([measure_image(np.full((9, 9, 3), 7, np.uint8))]) == {"0.png": "problem: all pixels are equal"}


def test_colour_among_grey_and_a_size_far_off_are_notes() -> None:
    usual = ImageFacts((100, 100), constant=False, colour=0.0, marks=0)
    odd = [ImageFacts((100, 100), False, 0.2, 0), ImageFacts((900, 900), False, 0.0, 0)]
    assert details([*[usual] * 18, *odd]) == {
        "18.png": "note: colour in 20.00% of its pixels, among grey images",
        "19.png": "note: 900x900 pixels, a side 9 times of the set's median",
    }


def test_crosses_burnt_in_are_counted_and_clouds_are_not() -> None:
    grey = picture(3, channels=1) // 3
    assert count_marks(grey) == 0
    for row, column in ((40, 40), (70, 100)):
        grey[row - 6 : row + 7, column] = 255
        grey[row, column - 6 : column + 7] = 255
    assert count_marks(grey) == 2


@given(st.lists(st.floats(0.9, 1.1), min_size=10, max_size=40), st.floats(0.001, 1000))
def test_values_close_together_have_no_outlier_and_scale_does_not_matter(values: list[float], scale: float) -> None:
    assert list(outliers([value * scale for value in values])) == []
    assert [index for index, _ in outliers([value * scale for value in [*values, 30.0]])] == [len(values)]
