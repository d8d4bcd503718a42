from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from delineate.pipelines.evaluation.charted import Charted
from delineate.pipelines.evaluation.charts import distributions


def drawn(values: list[float], name: str = "") -> Any:
    """The axes of a distribution of Dice: of one structure a histogram below a box, of several a box each."""
    rows = [{"mean_dice": value, "mean_dice_heart": value, "mean_dice_lung": 0.1 * value} for value in values]
    charted = [Charted("heart", "_heart", {}, rows, "#112233"), Charted("lung", "_lung", {}, rows, "#445566")]
    (chart,) = distributions(["mean_dice"], charted if name else [Charted("", "", {}, rows, "#112233")])
    axes = Figure().add_subplot()
    chart.draw(axes)
    return axes


def medians(axes: Any) -> list[str]:
    """The colours of the lines at medians: those of boxes that are not whiskers."""
    return [to_hex(line.get_color()) for line in axes.lines if line.get_linewidth() != 1]


@pytest.mark.parametrize("values", [[0.9] * 12, [0.9] * 12 + [0.2]], ids=["all alike", "all but one"])
def test_a_box_without_width_is_seen_by_its_median(values: list[float]) -> None:
    assert medians(drawn(values)) == ["#d55e00"]
    assert medians(drawn(values, "several")) == ["#112233", "#445566"]


def test_the_median_of_a_wide_box_is_white_on_it() -> None:
    assert medians(drawn(list(np.linspace(0, 1, 20)))) == ["#ffffff"]
