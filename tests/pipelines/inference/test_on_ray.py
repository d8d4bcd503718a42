"""An archive on a cluster of two nodes; without Ray, what needs none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mortal_worker
import numpy as np
import pytest
from ensembles import random_bundle
from PIL import Image

from delineate.pipelines.core.errors import DelineateError, InputError
from delineate.pipelines.inference import on_ray
from delineate.pipelines.inference.on_ray import _alone, _together, _Worker, segment_on_ray
from delineate.pipelines.inference.outputs import Segmentation
from delineate.pipelines.inference.segmenter import Segmenter

RNG = np.random.default_rng(0)
Answer = dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and twelve photos of which one is none."""
    folder = tmp_path_factory.mktemp("archive")
    random_bundle(folder / "known", 0)
    (folder / "photos").mkdir()
    for number in range(11):
        Image.fromarray(RNG.integers(0, 256, (30 + number, 40), np.uint8)).save(folder / "photos" / f"{number:02}.png")
    (folder / "photos" / "bad.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def segmenter(place: Path) -> Segmenter:
    return Segmenter(place / "known")


def whole(segmenter: Segmenter, place: Path, **more: Any) -> tuple[dict[str, Segmentation], list[str]]:
    """Results by their names, each once, and what was refused."""
    refused: list[InputError] = []
    results = list(segment_on_ray(segmenter, [str(place / "photos")], "local", {}, refused.append, **more))
    assert len({result.name for result in results}) == len(results)
    return {result.name: result for result in results}, [str(error) for error in refused]


def same(results: dict[str, Segmentation], segmenter: Segmenter, place: Path) -> bool:
    expected = {one.name: one for one in segmenter.segment([place / "photos"], lambda _: None)}
    return set(results) == set(expected) and all(
        np.array_equal(results[name].mask, one.mask) and np.array_equal(results[name].probability, one.probability)
        for name, one in expected.items()
    )


# without Ray


class KilledError(BaseException):
    """A process ends."""


def here(worker: _Worker, jobs: list[Any]) -> Iterator[tuple[Any, Answer]]:
    """What Ray does with jobs, in this process: one whose process ends is given to the next."""
    times = Counter[int]()
    worker.begun = lambda job: times.update([job]) or times[job]
    for number, units in enumerate(jobs):
        answer = None
        while answer is None:
            with suppress(KilledError):
                answer = worker({"job": number, "units": on_ray.pickle.dumps(units)})
        yield units, answer


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "refuse_missing", lambda: None)
    monkeypatch.setattr(on_ray, "_cluster", lambda _: on_ray.contextmanager(lambda: iter([None]))())
    monkeypatch.setattr(on_ray, "_run", here)


def failing(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException, times: int) -> None:
    """Have the image of a name fail so often."""
    own, left = Segmenter._infer, iter(range(times))

    def infer(self: Segmenter, item: dict[str, Any]) -> dict[str, Any]:
        if item["name"] == name and next(left, None) is not None:
            raise error
        return own(self, item)

    monkeypatch.setattr(Segmenter, "_infer", infer)


@pytest.mark.usefixtures("no_cluster")
def test_results_are_those_of_one_process(segmenter: Segmenter, place: Path) -> None:
    moved: list[tuple[int, int]] = []
    results, refused = whole(segmenter, place, on_progress=lambda *at: moved.append(at))
    assert same(results, segmenter, place)
    assert [line.endswith("is empty (0 bytes); copy or download it again") for line in refused] == [True]
    assert moved[-1] == (12, 12)


@pytest.mark.usefixtures("no_cluster")
def test_what_is_done_is_passed_over_and_probabilities_may_stay_behind(segmenter: Segmenter, place: Path) -> None:
    results, _ = whole(segmenter, place, skip=lambda item: item.file.stem < "08", light=True)
    assert sorted(results) == ["08", "09", "10"]
    assert [dict(result.probabilities) for result in results.values()] == [{}] * 3


@pytest.mark.parametrize(("error", "times"), [(RuntimeError("no\nmemory"), 1), (KilledError(), 1), (KilledError(), 3)])
def test_an_image_that_fails_is_tried_again(
    segmenter: Segmenter,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_cluster: None,
    error: BaseException,
    times: int,
) -> None:
    failing(monkeypatch, "03", error, times)
    results, refused = whole(segmenter, place)
    monkeypatch.undo()
    assert same(results, segmenter, place)
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("error", "words"), [(RuntimeError("no\nmemory"), "RuntimeError: no memory"), (KilledError(), "its process ended")]
)
def test_an_image_that_fails_again_is_refused_and_the_rest_is_there(
    segmenter: Segmenter,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_cluster: None,
    error: BaseException,
    words: str,
) -> None:
    failing(monkeypatch, "03", error, 99)
    results, refused = whole(segmenter, place)
    assert sorted(results) == [f"{number:02}" for number in range(11) if number != 3]
    assert len(refused) == 2
    told = f"photos/03.png: failed again and again ({words}); segment it by itself, without --ray, to see why"
    assert [line.endswith(told) for line in refused].count(True) == 1


@pytest.mark.usefixtures("no_cluster")
def test_a_machine_with_another_bundle_ends_the_work(segmenter: Segmenter, place: Path, tmp_path: Path) -> None:
    worker = _Worker(str(random_bundle(tmp_path / "other", 1)), segmenter.admission.hash, {}, False)
    answer = worker({"job": 0, "units": on_ray.pickle.dumps([])})
    assert answer["fatal"].startswith(f"{tmp_path / 'other'} is another bundle on ")


def test_jobs_have_several_images_or_one_volume() -> None:
    def unit(name: str, slices: int = 0) -> list[dict[str, Any]]:
        return [{"name": name, "slices": slices}] * slices if slices else [{"name": name}]

    units = [unit("a"), unit("b"), unit("v", 3), unit("w", 2), *(unit(str(number)) for number in range(9))]
    assert [len(job) for job in _together(units)] == [2, 1, 1, 8, 1]
    assert [len(job) for job in _alone(units)] == [1] * len(units)
    assert [one for job in _together(units) for one in job] == units


def test_without_ray_the_way_to_get_it_is_told(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "find_spec", lambda name: None)
    with pytest.raises(
        DelineateError, match=r"--ray needs ray and pyarrow and pandas, not installed here; pip install"
    ):
        next(segment_on_ray(segmenter, ["a.png"], "local", {}, print))


def test_an_address_where_nobody_listens_is_told_at_once(
    segmenter: Segmenter, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "refuse_missing", lambda: None)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(DelineateError, match=r"^--ray 127.0.0.1:9: no Ray cluster answers there \(.*refused\)$"):
        next(segment_on_ray(segmenter, [str(place / "photos" / "00.png")], "127.0.0.1:9", {}, print))


# with Ray


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one core each, beside a head that computes nothing."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'delineate[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_BACKEND_LOG_LEVEL", "fatal")
        patch.setenv("RAY_worker_niceness", "0")  # else all that runs beside it goes before
        patch.setenv("PYTHONPATH", str(Path(mortal_worker.__file__).parent))
        import ray
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_killed_worker_loses_nothing_and_masks_are_the_same(
    cluster: Any, segmenter: Segmenter, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_Worker", mortal_worker.Mortal)
    monkeypatch.setattr(on_ray, "_IMAGES", 3)
    results, refused = whole(segmenter, place)
    assert (place / "killed").exists()
    assert same(results, segmenter, place)
    assert len(refused) == 1
