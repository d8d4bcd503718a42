from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_score, recall_score

from delineate.pipelines.evaluation.precision_recall import precision_recall, probability_histogram

DRAW = np.random.default_rng(0)
REFERENCE = DRAW.random((40, 50)) < 0.3
PROBABILITY = np.float32(np.clip(0.4 * REFERENCE + 0.6 * DRAW.random((40, 50)), 0, 1))


def histogram(probability: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return probability_histogram(torch.from_numpy(probability), torch.from_numpy(reference.astype(np.uint8)))


@pytest.mark.parametrize("index", [0, 1, 77, 128, 200, 255])
def test_precision_and_recall_are_those_of_scikit_learn_at_each_threshold(index: int) -> None:
    curve = precision_recall(histogram(PROBABILITY, REFERENCE))
    drawn, truth = (curve["thresholds"][index] <= PROBABILITY).ravel(), REFERENCE.ravel()
    assert curve["recall"][index] == pytest.approx(recall_score(truth, drawn))
    if drawn.any():
        assert curve["precision"][index] == pytest.approx(precision_score(truth, drawn))
    else:
        assert curve["precision"][index] is None


def test_average_precision_is_that_of_scikit_learn() -> None:
    coarse = np.floor(PROBABILITY * 256) / 256
    found = precision_recall(histogram(PROBABILITY, REFERENCE))["average_precision"]
    assert found == pytest.approx(average_precision_score(REFERENCE.ravel(), coarse.ravel()))


def test_images_add_up() -> None:
    parts = [histogram(PROBABILITY[rows], REFERENCE[rows]) for rows in (slice(0, 15), slice(15, None))]
    assert np.array_equal(sum(parts), histogram(PROBABILITY, REFERENCE))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_every_pixel_is_counted_once(probability: float) -> None:
    counts = histogram(np.full((4, 5), probability, np.float32), np.ones((4, 5), bool))
    assert counts.sum() == 20
    assert counts[0, 255 if probability else 0] == 20


def test_without_foreground_there_is_no_recall() -> None:
    curve = precision_recall(histogram(PROBABILITY, np.zeros_like(REFERENCE)))
    assert set(curve["recall"]) == {None}
    assert curve["average_precision"] is None
