"""A node that is killed again and again under a stream of studies: each must end in exactly one result.

    PYTHONPATH=tests/support python benchmarks/node_kill.py --destination archive --out benchmarks/node_kill.csv
    PYTHONPATH=tests/support python benchmarks/node_kill.py --destination orthanc --out benchmarks/node_kill.csv
    PYTHONPATH=tests/support python benchmarks/node_kill.py --destination troubled --out benchmarks/node_kill.csv

Senders send studies, every second one a series of CT of five slices, the others a single radiograph, and try again
until the node acknowledged each image. Meanwhile ``delineate node run`` gets SIGKILL at random moments, some of them
chosen while a job runs or a result is sent, and is started again. Then it is left alone until all is sent. ``archive``
and ``troubled`` are a destination of this script's, which counts what it stores; the second refuses, aborts, is slow
and is away in between. ``orthanc`` is a real one. A row is added to --out: ``exactly_one`` must be ``studies``.
``again`` counts objects that came a second time, under the same UID: the node was killed before it could write down
that they were sent. It takes some ten minutes.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from dicom_files import write_series
from dicom_objects import PATIENT, radiograph
from node_process import NodeProcess, free_port
from node_traffic import MOODS, Archive, send_until_acknowledged
from pydicom.uid import generate_uid
from structured_bundles import structured_bundle

Draw = random.Random
Results = Callable[[], dict[str, list[int]]]
"""Of each study its results: of each object how many frames it has."""
SLICES, STRUCTURES = 5, [{"name": "lesion"}]
AFFINE = np.diag([-1.5, -2, 4, 1])
IDLE = 8.0
"""Seconds after which a series is complete: longer than a sender takes to find out that the node has died."""
COLUMNS = ["destination", "kills", "studies", "images", "exactly_one", "none", "several", "partial", "again", "seconds"]


def settings(folder: Path, destination: dict[str, Any], idle: float = IDLE) -> dict[str, Any]:
    """A node with a bundle for radiographs and one for CT."""
    rules = [
        {"name": name, "match": {"modality": modality}, "bundle": str(folder / name), "send_to": "archive"}
        for name, modality in (("radiograph", "CR"), ("series", "CT"))
    ]
    return {
        "rules": rules,
        "destinations": [{"name": "archive", "host": "127.0.0.1", **destination}],
        "completeness": {"idle_seconds": idle},
        "sending": {"pause": 0.5, "longest_pause": 2},
        "limits": {"free_mib": 10},
    }


def make_bundles(folder: Path) -> None:
    """Small ones, with the weights that chance gives."""
    structured_bundle(folder / "radiograph", False, "nerve", STRUCTURES)
    structured_bundle(folder / "series", False, "ct_slice", STRUCTURES)


@dataclass
class Stream:
    """Senders that send one study after the other.

    Attributes:
        series: whether some are series.
        studies: of each study that was acknowledged as a whole, how many images it has.
    """

    folder: Path
    port: int
    pause: float
    series: bool = True
    studies: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, number: int) -> None:
        """Send until it is told to stop; what was begun is sent to its end."""
        step = 0
        while not self._stop.is_set():
            study = generate_uid()
            files = make_study(self.folder / study, study, self.series and (step + number) % 2 == 1)
            try:
                send_until_acknowledged(files, self.port)
            except Exception as error:
                self.failed.append(f"{study}: {error!r}")
                return
            self.studies[study] = len(files)
            step += 1
            self._stop.wait(self.pause)

    @contextmanager
    def flowing(self, senders: int = 2) -> Iterator[None]:
        """While the block runs."""
        threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(senders)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
        for thread in threads:
            thread.join()


def make_study(folder: Path, study: str, series: bool) -> list[Path]:
    """A radiograph, or a series of CT."""
    facts = {**PATIENT, "StudyInstanceUID": study, "SeriesInstanceUID": generate_uid()}
    if not series:
        return [radiograph(folder / "0.dcm", **facts)]
    voxels = np.random.default_rng().integers(-200, 300, (24, 20, SLICES), dtype=np.int16)
    write_series(folder, voxels, AFFINE, **facts, FrameOfReferenceUID=generate_uid(), SliceThickness="4")
    return sorted(folder.iterdir())


def kill_once(node: NodeProcess, draw: Draw, longest: float) -> None:
    """Start the node and kill it at a random moment."""
    node.start()
    moment = draw.choice(("any", "running", "sending"))
    time.sleep(draw.uniform(0.2, longest))
    end = time.monotonic() + 2 * longest
    while moment != "any" and time.monotonic() < end:
        try:
            said = node.ask()
        except OSError:
            time.sleep(0.02)
            continue
        if said["jobs"]["running"] if moment == "running" else said["waiting_deliveries"]:
            time.sleep(draw.uniform(0, 0.1))
            break
        time.sleep(0.01)
    assert node.process
    assert node.process.poll() is None, node.log
    node.end(signal.SIGKILL)


def wait_for(results: Results, stream: Stream, node: NodeProcess, seconds: float) -> None:
    """Until the node has nothing to do and each study has a result, then a little longer for what is too much."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said = node.ask()
        busy = said["waiting_deliveries"] or any(said["jobs"][state] for state in ("received", "ready", "running"))
        if not busy and set(stream.studies) <= set(results()):
            break
        time.sleep(0.2)
    time.sleep(1)


def measure(
    folder: Path,
    kills: int,
    seed: int,
    destination: str = "archive",
    *,
    longest: float = 12,
    pause: float = 0.5,
    idle: float = IDLE,
    series: bool = True,
) -> dict[str, Any]:
    """Kill a node so often; a row of the table.

    Args:
        folder: for all files.
        kills: how many.
        seed: of their moments.
        destination: one of `DESTINATIONS`.
        longest: seconds from a start to a kill.
        pause: seconds between two studies of a sender.
        idle: seconds after which a series is complete.
        series: whether some studies are series.
    """
    draw, began = Draw(seed), time.monotonic()
    make_bundles(folder)
    with DESTINATIONS[destination](folder, draw) as (entry, results, again, calm):
        node = NodeProcess(folder, settings(folder, entry, idle))
        stream = Stream(folder / "sent", node.port, pause, series)
        with stream.flowing():
            for number in range(kills):
                kill_once(node, draw, longest)
                print(f"kill {number + 1}: {len(stream.studies)} studies acknowledged", flush=True)
            calm()
            node.start()
            node.wait()
        wait_for(results, stream, node, 60 + 2 * len(stream.studies))
        assert node.end() == 0, node.log
        assert not stream.failed, stream.failed
        found = results()
        counted = {
            "again": again(),
            **judged(stream.studies, found),
            "destination": destination,
            "kills": kills,
            "seconds": round(time.monotonic() - began),
        }
    return counted


def judged(studies: dict[str, int], found: dict[str, list[int]]) -> dict[str, Any]:
    """Counts of studies with one whole result, none, several, or one of a part of its images."""
    several = [study for study in studies if len(found.get(study, [])) > 1]
    partial = [study for study, images in studies.items() if any(frames != images for frames in found.get(study, []))]
    none = [study for study in studies if study not in found]
    for what, those in (("several", several), ("partial", partial), ("none", none)):
        for study in those:
            print(f"{what}: {study}: {studies[study]} images, {found.get(study)} frames", flush=True)
    bad = {*several, *partial, *none}
    return {
        "studies": len(studies),
        "images": sum(studies.values()),
        "exactly_one": len(studies) - len(bad),
        **{"none": len(none), "several": len(several), "partial": len(partial)},
    }


Destination = tuple[dict[str, Any], Results, Callable[[], int], Callable[[], None]]
"""Its entry in the configuration, its results, how many objects came again, and what ends its troubles."""


@contextmanager
def at_archive(folder: Path, draw: Draw) -> Iterator[Destination]:
    archive = Archive(free_port())
    with archive.open():
        yield (*described(archive), lambda: None)


@contextmanager
def at_troubled(folder: Path, draw: Draw) -> Iterator[Destination]:
    archive, calm = Archive(free_port()), threading.Event()

    def live() -> None:
        while not calm.is_set():
            archive.mood = draw.choice(MOODS)
            with archive.open():
                calm.wait(draw.uniform(1, 5))
            calm.wait(draw.uniform(0, 2))  # nobody listens
        archive.mood = "sound"
        with archive.open():
            ended.wait()

    ended, thread = threading.Event(), threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield (*described(archive), calm.set)
    finally:
        ended.set()
        calm.set()
        thread.join()


def described(archive: Archive) -> tuple[dict[str, Any], Results, Callable[[], int]]:
    def results() -> dict[str, list[int]]:
        found = archive.results()
        return {study: [int(archive.stored[uid].NumberOfFrames) for uid in uids] for study, uids in found.items()}

    entry = {"port": archive.port, "ae_title": "ARCHIVE"}
    return entry, results, lambda: sum(archive.times.values()) - len(archive.times)


@contextmanager
def at_orthanc(folder: Path, draw: Draw) -> Iterator[Destination]:
    from orthanc import running

    with running(folder / "orthanc") as orthanc:

        def results() -> dict[str, list[int]]:
            found: dict[str, list[int]] = {}
            stored = orthanc.ask("series?expand")
            uids = {one["ID"]: one["MainDicomTags"]["StudyInstanceUID"] for one in orthanc.ask("studies?expand")}
            for series in stored:
                for instance in series["Instances"]:
                    frames = len(orthanc.ask(f"instances/{instance}/frames"))
                    found.setdefault(uids[series["ParentStudy"]], []).append(frames)
            return found

        yield {"port": orthanc.dicom, "ae_title": orthanc.ae_title}, results, lambda: 0, lambda: None


DESTINATIONS = {"archive": at_archive, "troubled": at_troubled, "orthanc": at_orthanc}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--destination", choices=list(DESTINATIONS), default="archive")
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--keep", type=Path, help="folder for all files, which stays")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        row = measure(given.keep or Path(temporary), given.kills, given.seed, given.destination)
    print(row)
    if given.out:
        write_row(given.out, COLUMNS, row | {"seed": given.seed})
    raise SystemExit(0 if row["exactly_one"] == row["studies"] > 0 else 1)


def write_row(out: Path, columns: list[str], row: dict[str, Any]) -> None:
    """Add a row to a table, with what it was measured with."""
    from tables import read_table, write_table

    from delineate.pipelines.core.versions import commit, cpu_name, versions

    found = versions()
    made_with = " ".join(f"{name}={found[name]}" for name in ("python", "torch", "pydicom"))
    row |= {"cpu": cpu_name(), "date": date.today().isoformat(), "versions": made_with, "commit": commit()}
    write_table(out, [*read_table(out), row], [*columns, "seed", "cpu", "date", "versions", "commit"])


if __name__ == "__main__":
    main()
