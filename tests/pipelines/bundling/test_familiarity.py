from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.bundling.familiarity import Familiarity, read_familiarity, write_familiarity
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.sums import check_sums, write_sums

RNG = np.random.default_rng(0)
MIXED = np.eye(20) + 0.1 * RNG.normal(size=(20, 20))


def drawn(count: int, shift: float = 0.0) -> np.ndarray:
    """Features (count, 20) that hang together."""
    return RNG.normal(size=(count, 20)) @ MIXED + shift


KNOWN = Familiarity.of(drawn(300), drawn(200))


def test_distances_are_mahalanobis_distances_where_there_are_many_images() -> None:
    training, images = drawn(50_000), drawn(50, shift=3)
    known = Familiarity.of(training, training)
    off = images - training.mean(0)
    exact = np.sqrt(np.einsum("nd,de,ne->n", off, np.linalg.inv(np.cov(training.T, bias=True)), off))
    assert known.distances(images) * known.limit == pytest.approx(exact, rel=0.02)


def test_the_scale_of_a_feature_does_not_matter() -> None:
    training, validation, images = drawn(300), drawn(200), drawn(50)
    times = np.logspace(-0.5, 0.5, 20)
    plain = Familiarity.of(training, validation).distances(images)
    assert Familiarity.of(training * times, validation * times).distances(images * times) == pytest.approx(plain)


def test_few_images_like_those_of_training_are_flagged_and_others_are() -> None:
    assert np.mean(KNOWN.distances(drawn(2000)) > 1) < 0.04
    assert np.all(KNOWN.distances(drawn(100) + 50) > 1)


@given(count=st.integers(100, 400), seed=st.integers(0, 99))
def test_at_most_one_in_a_hundred_validation_images_is_flagged(count: int, seed: int) -> None:
    validation = np.random.default_rng(seed).normal(size=(count, 20))
    known = Familiarity.of(KNOWN.directions[:5] + 1, validation)
    assert np.mean(known.distances(validation) > 1) <= 0.01


@pytest.mark.parametrize("count", [1, 2, 99])
def test_of_few_validation_images_none_is_flagged(count: int) -> None:
    validation = drawn(count, shift=9)
    assert Familiarity.of(drawn(30), validation).distances(validation).max() < 0.9


@pytest.mark.parametrize("training", [np.zeros((1, 20)), np.ones((4, 20)), np.eye(20)[:3]], ids=["one", "same", "few"])
def test_images_that_hardly_differ_give_finite_distances(training: np.ndarray) -> None:
    known = Familiarity.of(training, training)
    assert np.isfinite(known.distances(drawn(5))).all()


def test_features_of_another_network_are_refused() -> None:
    with pytest.raises(DelineateError, match="is of 20 features, and its network has 3; make it again"):
        KNOWN.distances(np.zeros((1, 3)))


# --- kept beside the weights ---------------------------------------------------------------------------------


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """With weights and what is familiar to them."""
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_sums(tmp_path, ["model.pt"])
    write_familiarity(tmp_path, [KNOWN])
    return tmp_path


def test_what_was_written_is_read_and_listed(models: Path) -> None:
    (known,), images = read_familiarity(models), drawn(50)
    assert known.distances(images) == pytest.approx(KNOWN.distances(images), rel=1e-4)
    assert check_sums(models, ["familiarity.json", "model.pt"]) == []


def test_a_bundle_without_it_knows_nothing(tmp_path: Path) -> None:
    assert read_familiarity(tmp_path) == ()


def test_that_of_other_weights_is_not_used(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    (models / "model.pt").write_bytes(b"others")
    with caplog.at_level(logging.WARNING, "delineate"):
        assert read_familiarity(models) == ()
    assert "it is of other weights than those beside it; make it again: delineate bundle familiarity" in caplog.text


def test_that_of_an_ensemble_is_of_each_member(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_familiarity(models, [KNOWN, KNOWN])
    assert len(read_familiarity(models, networks=2)) == 2
    with caplog.at_level(logging.WARNING, "delineate"):
        assert read_familiarity(models, networks=3) == ()
    assert "of 2 networks, and the bundle has 3" in caplog.text


DAMAGE: dict[str, Callable[[dict[str, Any]], object]] = {
    "no number": lambda told: told["networks"][0]["mean"].__setitem__(0, "NaN"),
    "too few": lambda told: told["networks"][0]["mean"].pop(),
    "uneven": lambda told: told["networks"][0]["directions"][0].pop(),
    "flat": lambda told: told["networks"][0].update(directions=[1.0]),
    "no variance": lambda told: told["networks"][0]["variances"].__setitem__(0, 0),
    "below zero": lambda told: told["networks"][0].update(limit=-1),
    "a list for a number": lambda told: told["networks"][0].update(rest=[1.0]),
    "something missing": lambda told: told["networks"][0].pop("scale"),
    "another format": lambda told: told.update(format=2),
    "no networks": lambda told: told.update(networks=None),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_not_used(
    models: Path, damage: Callable[[dict[str, Any]], object], caplog: pytest.LogCaptureFixture
) -> None:
    path = models / "familiarity.json"
    told = json.loads(path.read_text())
    damage(told)
    path.write_text(json.dumps(told))
    write_sums(models, ["model.pt", "familiarity.json"])
    with caplog.at_level(logging.WARNING, "delineate"):
        assert read_familiarity(models) == ()
    assert "familiarity.json is not used" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "{", "\0", "[" * 100_000])
def test_what_is_no_such_file_is_not_used(models: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (models / "familiarity.json").write_text(text)
    with caplog.at_level(logging.WARNING, "delineate"):
        assert read_familiarity(models) == ()
    assert "is not used" in caplog.text


def test_one_that_was_changed_after_listing_is_not_used(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = models / "familiarity.json"
    path.write_text(path.read_text() + " ")
    with caplog.at_level(logging.WARNING, "delineate"):
        assert read_familiarity(models) == ()
    assert "has another SHA-256 than listed" in caplog.text
