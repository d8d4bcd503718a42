from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.volumes.windows import OUTER, PRESETS, Percentiles, Window, parse_window, resolve, show

numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_known_by_name(name: str) -> None:
    assert parse_window(name) == PRESETS[name]


def test_a_preset_is_its_centre_and_width() -> None:
    assert parse_window("lung") == parse_window("-600,1500") == Window(-1350, 150)


@given(numbers, st.floats(1e-3, 1e6))
def test_centre_and_width_are_the_same_as_text_and_as_numbers(centre: float, width: float) -> None:
    window = parse_window(f"{centre}, {width}")
    assert window == parse_window([centre, width])
    assert window == Window(centre - width / 2, centre + width / 2)


def test_percentiles_are_told_by_their_sign() -> None:
    assert parse_window("1%, 99%") == Percentiles(1, 99)
    assert parse_window("auto") is None


@pytest.mark.parametrize(
    "text",
    [
        "long",
        "40",
        "40,0",
        "40,-5",
        "nan,4",
        "40,inf",
        "1,2,3",
        "",
        [],
        [40],
        40,
        None,
        {"centre": 40},
        "99%,1%",
        "1%,101%",
        "-1%,50%",
        "nan%,50%",
        "1%,99",
        "1,99%",
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(DelineateError, match="window is"):
        parse_window(text)


def test_a_misspelt_preset_is_hinted_at() -> None:
    with pytest.raises(DelineateError, match="did you mean 'abdomen'"):
        parse_window("abdomne")


def test_auto_takes_what_the_source_asks_for_or_else_percentiles() -> None:
    values = np.arange(1001)
    assert resolve(None, values, Window(3, 4)) == Window(3, 4)
    assert resolve(None, values) == resolve(OUTER, values) == Window(5, 995)
    assert resolve(Window(1, 2), values, Window(3, 4)) == Window(1, 2)


def test_percentiles_pass_over_what_is_not_finite() -> None:
    values = np.array([0, 10, np.nan, np.inf, -np.inf], np.float32)
    assert resolve(Percentiles(0, 100), values) == Window(0, 10)


@pytest.mark.parametrize("values", [np.full(9, 7.0), np.full(9, np.nan), np.zeros(0)], ids=["flat", "NaN", "none"])
@pytest.mark.parametrize("inverted", [False, True])
def test_an_image_without_contrast_is_black(values: np.ndarray, inverted: bool) -> None:
    assert not show(values, resolve(None, values), inverted).any()


def test_a_window_goes_from_black_to_white() -> None:
    values = np.array([-900, 0, 50, 100, 900], np.int16)
    assert show(values, Window(0, 100)).tolist() == [0, 0, 128, 255, 255]
    assert show(values, Window(0, 100), inverted=True).tolist() == [255, 255, 128, 0, 0]


@pytest.mark.parametrize("inverted", [False, True])
def test_nan_is_black(inverted: bool) -> None:
    assert show(np.array([np.nan]), Window(0, 1), inverted).tolist() == [0]


@given(
    st.lists(st.floats(width=32), min_size=2, max_size=20),
    st.floats(-1e30, 1e30),
    st.floats(1e-40, 1e30),
    st.booleans(),
)
def test_brighter_is_never_darker(values: list[float], low: float, width: float, inverted: bool) -> None:
    ordered = np.sort(np.array([value for value in values if value == value], np.float32))
    steps = np.diff(show(ordered, Window(low, low + width), inverted).astype(int))
    assert (steps <= 0).all() if inverted else (steps >= 0).all()


@given(st.lists(st.integers(-2000, 4000), min_size=1, max_size=20), st.integers(-500, 500), st.integers(1, 2000))
def test_inversion_mirrors_the_greys(values: list[int], low: int, width: int) -> None:
    window = Window(low, low + width)
    greys, mirrored = (show(np.array(values), window, inverted).astype(int) for inverted in (False, True))
    assert (np.abs(greys + mirrored - 255) <= 1).all()  # halves round to even


def test_a_volume_that_is_nearly_all_air_is_still_seen() -> None:
    values = np.zeros((10, 10, 10), np.int16)
    values[0, 0, :4] = 3
    assert resolve(None, values) == Window(0, 3)
