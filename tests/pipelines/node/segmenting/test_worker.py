from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from node_parts import IDLE, config_of, facts_of, open_queue, ready_job, take_in

from delineate.pipelines.bundling.gate import Admission
from delineate.pipelines.core.child import Child
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.audit import Audit
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.folders import Folders
from delineate.pipelines.node.queue.queue import Job, Queue
from delineate.pipelines.node.segmenting import worker as worker_module
from delineate.pipelines.node.segmenting.models import Model, stamp_of
from delineate.pipelines.node.segmenting.worker import Worker, work

PROGRAM = """
import json, os, pathlib, time

def answer(request):
    asked = json.loads(request)
    told = {"model": "a hash", "objects": [], "refused": [], "skipped": []}
    if "inputs" not in asked:
        return json.dumps(told).encode()
    (pathlib.Path(__file__).parent / "asked").open("a").write("+")
    images = sorted(path.read_text() for path in pathlib.Path(asked["inputs"]).iterdir())
    word = images[0]
    if word == "crash":
        os.abort()
    if word == "hang":
        time.sleep(60)
    if word == "error":
        raise ValueError("CUDA error\\nan illegal memory access")
    if word == "full":
        return json.dumps({"model": "a hash", "no_room": True}).encode()
    os.mkdir(asked["out"])
    for number, image in enumerate(images):
        if image in ("refused", "skipped"):
            told[image].append("no image; export it again" if number < 2 else "something else")
        else:
            with open(asked["out"] + f"/{number}.dcm", "w") as file:
                file.write("of " + image)
            told["objects"].append({"file": f"{number}.dcm", "sop_class": "1.2.66", "sop_uid": f"1.2.{number}"})
    return json.dumps(told).encode()
"""


@dataclass
class Place:
    """A node without a network, whose worker asks a program of the test's."""

    folder: Path
    config: NodeConfig
    queue: Queue
    worker: Worker
    stop: threading.Event

    def jobs(self, *images: str, sop_uid: str = "1.5", series: str = "1.1") -> list[Job]:
        """Those of a series of these images."""
        for number, image in enumerate(images):
            take_in(self.queue, facts_of(series, f"{sop_uid}.{number}"), image.encode())
        return self.queue.settle(self.config, time.time() + IDLE)

    def done(self, *images: str, **more: str) -> Job:
        """The job of a series of these images, once the worker was at it."""
        self.jobs(*images, **more)
        return self.once()

    def once(self) -> Job:
        """The next job, once the worker was at it."""
        job = self.queue.next_job()
        assert job
        self.worker.do(job)
        return self.queue.job(job.id)

    def audit(self, event: str) -> list[dict[str, Any]]:
        lines = [line for file in (self.folder / "audit").iterdir() for line in file.read_text().splitlines()]
        return [found for line in lines if (found := json.loads(line))["event"] == event]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder, bundle = tmp_path / "node", tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs/inference.yaml").write_text("")
    config = config_of(folder, limits={"job_seconds": 20})
    queue = open_queue(folder)
    models = {"ct": Model(config.rules[0], Admission(bundle, "a hash"), stamp_of(bundle))}
    stop = threading.Event()
    worker = Worker(config, queue, Audit(folder / "audit"), stop, models)
    (tmp_path / "program.py").write_text(PROGRAM)
    worker.child = Child(tmp_path / "program.py", 20, 2**33, resident=True, tries=1)
    yield Place(folder, config, queue, worker, stop)
    worker.child.stop()
    queue.close()


def test_results_lie_in_their_place_and_wait_for_delivery(place: Place) -> None:
    job = place.done("a", "b")
    assert (job.state, job.reason, job.model) == ("done", "", place.worker.models["ct"].name)
    found = [(one.destination, one.sop_uid, one.file) for one in place.queue.deliveries(job.id)]
    assert found == [("pacs", f"1.2.{number}", f"results/{job.id}/{number}.dcm") for number in (0, 1)]
    assert [(place.folder / file).read_text() for _, _, file in found] == ["of a", "of b"]
    assert list((place.folder / "work").iterdir()) == []
    (event,) = place.audit("segmented")
    assert event.items() >= {"job": job.id, "model": "a hash", "results": ["1.2.0", "1.2.1"], "images": 2}.items()


def test_images_without_a_result_are_told_beside_the_results(place: Place) -> None:
    job = place.done("a", "refused", "skipped")
    assert (job.state, len(place.queue.deliveries(job.id))) == ("done", 1)
    assert job.reason == "1 image refused: no image; export it again; 1 image skipped: something else"


def test_a_series_of_which_all_is_refused_is_quarantined(place: Place) -> None:
    job = place.done("refused", "refused", "refused", "skipped")
    assert job.state == "quarantined"
    assert job.reason.startswith("3 images refused: no image; export it again (and 1 other); 1 image skipped")
    assert not (place.folder / "results" / job.id).exists()


def test_a_series_of_which_all_is_of_no_use_is_done(place: Place) -> None:
    assert (place.done("skipped")).state == "done"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("crash", r"its process crashed \(SIGABRT\)"),
        ("hang", "its process took longer than 0.2 s"),
        ("error", "an illegal memory access"),
    ],
)
def test_what_ends_the_process_is_tried_again_then_quarantined_and_the_rest_goes_on(
    place: Place, word: str, reason: str
) -> None:
    place.worker.load()
    place.worker.child.patience = 0.2 if word == "hang" else 20
    first = place.done(word)
    assert (first.state, first.attempts) == ("ready", 1)
    second = place.once()
    assert (second.state, second.attempts) == ("quarantined", 2)
    assert second.reason == reason.replace("\\", "")
    place.worker.child.patience = 20
    assert place.done("a", series="1.7").state == "done"


def test_the_same_images_with_the_same_model_are_not_computed_twice(place: Place) -> None:
    first, other = place.done("a"), place.done("b")
    again = place.done("a")
    assert (first.state, other.state) == ("done", "done")
    assert (again.state, again.reason) == ("sent", f"same images and model as job {first.id[:12]}: not done again")
    assert (place.folder.parent / "asked").read_text() == "++"


def test_a_full_disk_gives_the_job_back_for_later(place: Place) -> None:
    job = place.done("full")
    assert (job.state, job.reason) == ("ready", "the disk is full")
    assert job.next_try > time.time()
    assert place.audit("put off")


def test_what_the_disk_refuses_is_done_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(worker_module.os, "replace", refuse)
        job = place.done("a")
    assert (job.state, job.reason) == ("ready", "the disk: Read-only file system")
    assert job.next_try > time.time()
    place.queue.turn_back(place.config, time.time())
    assert place.once().state == "done"


def test_a_result_that_was_deleted_and_sent_nowhere_is_computed_again(place: Place) -> None:
    rule = place.worker.models["ct"].rule.model_copy(update={"send_to": ()})
    place.worker.models["ct"] = replace(place.worker.models["ct"], rule=rule)
    first = place.done("a")
    place.done("b")
    shutil.rmtree(place.folder / "results" / first.id)
    again = place.done("a")
    assert again.state == "done"
    assert (place.folder / "results" / again.id / "0.dcm").read_text() == "of a"
    place.done("b")
    assert place.done("a").reason == f"same images and model as job {again.id[:12]}: not done again"


def test_a_destination_that_is_named_twice_gets_a_result_once(place: Place) -> None:
    rule = place.worker.models["ct"].rule.model_copy(update={"send_to": ("pacs", "pacs")})
    place.worker.models["ct"] = replace(place.worker.models["ct"], rule=rule)
    assert len(place.queue.deliveries(place.done("a").id)) == 1


def test_no_job_is_begun_where_there_is_no_room_for_results(place: Place) -> None:
    assert place.worker.has_room()
    place.worker.config = config_of(place.folder, limits={"free_mib": 2**40})
    assert not place.worker.has_room()


def test_a_job_sees_its_own_images_alone_as_they_were(place: Place) -> None:
    place.jobs("a")
    job = place.queue.next_job()
    assert job
    take_in(place.queue, facts_of("1.1", "1.5.0"), b"in its place")
    take_in(place.queue, facts_of("1.1", "1.5.9"), b"late")
    place.worker.do(job)
    assert [(place.folder / one.file).read_text() for one in place.queue.deliveries(job.id)] == ["of a"]


def test_what_a_killed_node_left_is_replaced(place: Place) -> None:
    (job,) = place.jobs("a")
    left = Folders(place.folder).results / job.id / "half.dcm"
    left.parent.mkdir()
    left.write_text("half")
    place.once()
    assert [path.name for path in left.parent.iterdir()] == ["0.dcm"]


def test_images_that_were_deleted_are_asked_for(place: Place) -> None:
    (job,) = place.jobs("a")
    (place.folder / place.queue.instances(job.id)[0].file).unlink()
    assert place.once().reason == "its images are no longer there; have them sent again"


def test_a_rule_that_is_gone_is_named(place: Place) -> None:
    place.jobs("a")
    place.worker.models = {}
    job = place.once()
    assert (job.state, job.reason[:28]) == ("quarantined", "no rule is called ct any mor")


def test_a_bundle_that_changes_is_told_once_and_what_was_loaded_is_used(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = place.worker.models["ct"].bundle.folder
    (bundle / "configs/inference.yaml").write_text("threshold: 0.1")
    for series in ("1.1", "1.2"):
        assert place.done(f"a of {series}", series=series).state == "done"
    (event,) = place.audit("bundle changed")
    assert "has changed since the node started (hash a hash, now" in event["reason"]
    assert event["reason"] in caplog.text


def test_a_bundle_that_is_another_one_when_it_is_loaded_ends_the_worker(place: Place) -> None:
    model = place.worker.models["ct"]
    place.worker.models = {"ct": Model(model.rule, Admission(model.bundle.folder, "another"), model.stamp)}
    with pytest.raises(DelineateError, match="rule ct"):
        place.worker.load()
    place.worker._is_loaded = True  # by a process that something else has ended
    with pytest.raises(DelineateError, match="rule ct"):
        place.done("a")
    assert [job.state for job in place.queue.jobs()] == ["running"]


def test_a_bundle_that_cannot_be_loaded_ends_the_worker_and_names_the_rule(place: Place) -> None:
    place.worker.child.program.write_text("def answer(request):\n    raise ValueError('it has no weights')")
    with pytest.raises(DelineateError, match="rule ct: it has no weights"):
        place.worker.load()


def test_a_bundle_that_needs_too_much_memory_names_the_limit(place: Place) -> None:
    place.worker.child.memory = 2**20
    place.worker.child.program.write_text("import time\ndef answer(request):\n    time.sleep(10)")
    with pytest.raises(DelineateError, match=r"needed more than 1 MiB of memory; look at limits.job_mib"):
        place.worker.load()


def test_a_node_that_stops_gives_the_running_job_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "FINISHING", 0.1)
    monkeypatch.setattr(worker_module, "Worker", lambda *_: place.worker)
    (job,) = place.jobs("hang")
    thread = threading.Thread(target=work, args=(place.config, place.queue, None, place.stop, {}))
    thread.start()
    while place.queue.job(job.id).state != "running" or not (place.folder.parent / "asked").exists():
        time.sleep(0.01)
    place.stop.set()
    thread.join(10)
    assert not thread.is_alive()
    place.queue.recover()
    assert (place.queue.job(job.id).state, place.queue.job(job.id).reason) == ("ready", "")
    assert not place.audit("failed")


def test_what_else_decides_a_result_is_in_the_name_of_its_model(tmp_path: Path) -> None:
    def name(**keys: Any) -> str:
        rule = {"name": "ct", "bundle": "ct_slice", "send_to": "pacs", **keys}
        return Model(config_of(tmp_path, rules=[rule]).rules[0], Admission(tmp_path, "hash"), ()).name

    changes: list[dict[str, Any]] = [{}, {"settings": {"threshold": 0.3}}, {"formats": ["seg", "sc"]}, {"send_to": []}]
    assert len({name(**change) for change in [*changes, {"seg_type": "fractional"}]}) == 5
    assert name() == name()


def test_ready_jobs_are_done_until_the_node_stops(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "Worker", lambda *_: place.worker)
    thread = threading.Thread(target=work, args=(place.config, place.queue, None, place.stop, {}))
    thread.start()
    jobs = [ready_job(place.queue, place.config, series=f"1.{n}", sop_uid=f"1.5.{n}") for n in range(3)]
    while any(place.queue.job(job.id).state != "done" for job in jobs):
        time.sleep(0.01)
    place.stop.set()
    thread.join(10)
    assert not thread.is_alive()
