"""Of a bundle that knows what is familiar, by whichever way it is called."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ensembles import random_bundle
from familiar_bundles import noise, page, teach, write
from monai.bundle import ConfigWorkflow

from delineate.pipelines.bundling.ensemble import make_ensemble
from delineate.pipelines.inference.familiarity import unfamiliar_warning
from delineate.pipelines.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(random_bundle(tmp_path_factory.mktemp("bundles") / "known", 0))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    write(folder / "a_noise.png", noise())
    write(folder / "b_page.png", page())
    return folder


def familiar(bundle: Path, *images: np.ndarray, **settings: object) -> list[bool | None]:
    return [result.familiar for result in Segmenter(bundle, **settings).segment(list(images))]


def rows(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def test_an_image_like_those_of_training_is_familiar_and_another_is_not(bundle: Path) -> None:
    assert familiar(bundle, noise(), page()) == [True, False]


def test_a_bundle_without_the_check_does_not_say(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "unknown", 0)
    (result,) = Segmenter(bundle).segment(noise())
    assert (result.familiar, result.feature_distance) == (None, None)


def test_the_mask_is_that_of_a_bundle_without_the_check(bundle: Path, tmp_path: Path) -> None:
    image, without = noise(), random_bundle(tmp_path / "unknown", 0)
    (one,), (other,) = Segmenter(bundle).segment(image), Segmenter(without).segment(image)
    assert np.array_equal(one.probability, other.probability)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_views_of_an_image_change_nothing(bundle: Path, precision: str) -> None:
    image = noise()
    (plain,) = Segmenter(bundle, precision=precision).segment(image)
    (several,) = Segmenter(bundle, precision=precision, tta="flips").segment(image)
    assert plain.feature_distance == pytest.approx(several.feature_distance)


def test_an_ensemble_gives_the_mean_of_its_members(bundle: Path, tmp_path: Path) -> None:
    other = teach(random_bundle(tmp_path / "other", 1))
    both, image = make_ensemble([bundle, other], tmp_path / "both"), noise()
    distances = [next(iter(Segmenter(one).segment(image))).feature_distance or 0 for one in (bundle, other, both)]
    assert distances[2] == pytest.approx(np.mean(distances[:2]), rel=1e-4)
    assert familiar(both, page()) == [False]


def test_an_ensemble_with_a_member_that_does_not_say_does_not_say(bundle: Path, tmp_path: Path) -> None:
    both = make_ensemble([bundle, random_bundle(tmp_path / "other", 1)], tmp_path / "both")
    assert familiar(both, noise()) == [None]


def test_stock_runs_say_the_same(bundle: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.yaml"),
        str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(tmp_path / "masks"),
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    found = list(rows(tmp_path / "masks"))
    assert [row["familiar"] for row in found] == ["yes", "no"]
    results = Segmenter(bundle).segment(str(images))
    assert [row["feature_distance"] for row in found] == [f"{result.feature_distance:.4g}" for result in results]
    assert "unlike most of the images that the network was trained with: 1 of 2 (" in caplog.text


def test_a_warning_names_the_first() -> None:
    line = unfamiliar_warning(["a", "b", "c", "d\n"], 9, "results.csv")
    assert "4 of 9 (a, b, c, ...)" in line
    assert "\n" not in line
