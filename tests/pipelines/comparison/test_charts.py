from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba

from delineate.pipelines.comparison.charts import difference_chart
from delineate.pipelines.evaluation.figures import PALETTE, _drawn, _style


def pair(metric: str, scale: float) -> dict[str, Any]:
    values = scale * np.linspace(-1, 0.9, 40)
    counts = {"a_better": 20, "b_better": 20, "ties": 0}
    return {"a": "A", "b": "B", "metric": metric, "per_image": np.append(values, np.nan), **counts}


@pytest.mark.parametrize("scale", [0.0012, 0.03, 0.21, 0.8, 35.0, 410.0])
def test_the_label_lies_within_the_chart_whatever_the_ticks_are(scale: float) -> None:
    with _style("black"):
        figure = _drawn([difference_chart(pair("hd95_percent", scale))], 1, 0)
        FigureCanvasAgg(figure).draw()
        assert figure.axes[0].yaxis.label.get_window_extent().x0 >= 0


@pytest.mark.parametrize(("metric", "below"), [("mean_dice", PALETTE[1]), ("hd95_mm", PALETTE[0])])
def test_a_is_orange_and_b_is_blue_where_they_are_better(metric: str, below: str) -> None:
    """Below 0 more is lost, where more is better; where less is, B is better there."""
    drawn = _drawn([difference_chart(pair(metric, 0.5))], 1, 0).axes[0].collections
    lowest = {part.get_facecolor().tobytes(): part.get_paths()[0].vertices[:, 1].min() for part in drawn}
    assert lowest[np.array([to_rgba(below)]).tobytes()] < 0
