from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.core.errors import DelineateError, UnknownNameError
from delineate.pipelines.imaging.volumes.slicing import Slicing
from delineate.pipelines.imaging.volumes.windows import PRESETS, Percentiles, Window

windows = st.sampled_from(["auto", *PRESETS, "1%,99%", "40,80"]) | st.tuples(st.floats(-99, 99), st.floats(1, 99))


@given(
    st.builds(
        Slicing,
        axis=st.sampled_from(["axial", "sagittal", "coronal", None]),
        window=windows | st.lists(windows, min_size=1, max_size=3),
        neighbours=st.integers(0, 9),
    )
)
def test_settings_come_back_from_configuration(slicing: Slicing) -> None:
    assert Slicing.of(slicing.as_dict()) == slicing


def test_nothing_is_no_slicing() -> None:
    assert Slicing.of(None) == Slicing() == Slicing.of({})


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ("auto", [None]),
        ([40, 400], [Window(-160, 240)]),
        ([[40, 400], "1%,99%"], [Window(-160, 240), Percentiles(1, 99)]),
        (["auto", "bone"], [None, PRESETS["bone"]]),
    ],
)
def test_a_window_is_one_for_all_or_one_for_each(window: Any, expected: list[Any]) -> None:
    assert Slicing(window=window).windows == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"window": "bonn"},
        {"window": 40},
        {"window": None},
        {"window": []},
        {"window": ["bone", 40]},
        {"neighbours": -1},
        {"neighbours": 1.5},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DelineateError, match=next(iter(settings))):
        Slicing.of(settings)


@pytest.mark.parametrize(
    ("settings", "hint"), [({"axis": "axail"}, "did you mean 'axial'"), ({"axes": "axial"}, "did you mean 'axis'")]
)
def test_unknown_names_are_refused_with_the_closest(settings: dict[str, Any], hint: str) -> None:
    with pytest.raises(UnknownNameError, match=hint):
        Slicing.of(settings)
