"""A node under load: studies a minute, latency, memory, and a long series of CT, with bundles of their shipped size.

    PYTHONPATH=tests/support python benchmarks/node_load.py --out benchmarks/node_load.csv [--data ../shared/data/dicom]

``delineate node run`` gets single-frame studies (ultrasound, 640 x 480; with --data real files of one frame under new
UIDs), each over an association of its own, whose release says that the study is complete, and sends one SEG of each to
Orthanc. Three rounds: a tenth of the studies as fast as it takes them, from which ``studies_a_minute`` is; some at half
that pace, of which the latency is, from the last image's acknowledgement to the result's arrival in Orthanc; the rest
as fast as it takes them. Memory is what the node (``node_mib``) and the process that segments (``child_mib``) have
resident after the first tenth and after all. Last a series of CT, 512 x 512, axial slices of 1 mm. Weights are those of
chance.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_files import write_image, write_series
from dicom_objects import PATIENT
from node_kill import write_row
from node_process import NodeProcess
from node_traffic import send_until_acknowledged
from orthanc import Orthanc, running
from pydicom.uid import UltrasoundImageStorage, generate_uid

SENDERS, LATENCIES, WARMING = 2, 60, 5
COLUMNS = [
    *("studies", "real", "studies_a_minute", "latency_median_s", "latency_p95_s"),
    *("node_mib_first", "node_mib_last", "child_mib_first", "child_mib_last", "memory_ratio"),
    *("slices", "series_sent_s", "series_result_s", "series_peak_mib"),
]
Study = tuple[str, list[Path]]


def make_bundles(folder: Path) -> None:
    """Shipped ones with untrained weights."""
    import torch
    from monai.bundle import ConfigParser

    from delineate.pipelines.bundling.bundles import new_bundle
    from delineate.pipelines.core.sums import write_sums

    torch.manual_seed(0)
    for task in ("breast_lesion", "ct_slice"):
        bundle = new_bundle(folder / task, task)
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / "inference.yaml"))
        (bundle / "models").mkdir()
        torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt")
        write_sums(bundle / "models", ["model.pt"])


def settings(folder: Path, orthanc: Orthanc) -> dict[str, Any]:
    rules = [
        {"name": "series", "match": {"series_description": "long series"}, "bundle": str(folder / "ct_slice")},
        {"name": "single", "match": {"series_description": "single"}, "bundle": str(folder / "breast_lesion")},
    ]
    entry = {"name": "orthanc", "host": "127.0.0.1", "port": orthanc.dicom, "ae_title": orthanc.ae_title}
    return {
        "rules": [{**rule, "send_to": "orthanc"} for rule in rules],
        "destinations": [entry],
        "completeness": {"idle_seconds": 30, "at_release": True},
        "limits": {"free_mib": 10},
    }


def single_studies(folder: Path, data: Path | None) -> Iterator[Study]:
    """Studies of one image without end."""
    sources = cycle(real_files(data) if data else [write_ultrasound(folder / "ultrasound.dcm")])
    for path in sources:
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.SeriesDescription = "single"
        target = folder / f"{image.SOPInstanceUID}.dcm"
        image.save_as(target)
        yield image.StudyInstanceUID, [target]


def real_files(data: Path) -> list[Path]:
    """Files of one frame that the reader takes, and pydicom writes again."""
    from delineate.pipelines.core.errors import InputError
    from delineate.pipelines.imaging.item import Item
    from delineate.pipelines.imaging.reading import read_picture
    from delineate.pipelines.imaging.volumes.slicing import Slicing

    found = []
    for path in sorted(path for kind in ("ultrasound", "xray", "photo") for path in (data / kind).glob("*.dcm")):
        try:
            image = pydicom.dcmread(path)
            read_picture(Item.of(path), Slicing())
            image.save_as(BytesIO())
            if int(image.get("NumberOfFrames") or 1) == 1 and "Secondary" not in image.SOPClassUID.name:
                found.append(path)
        except (InputError, AttributeError, TypeError, ValueError):
            continue
    return found


def write_ultrasound(path: Path) -> Path:
    rows, columns = np.mgrid[:480, :640]
    lesion = (rows - 240) ** 2 / 80**2 + (columns - 320) ** 2 / 110**2 < 1
    values = np.random.default_rng(0).rayleigh(40, (480, 640)) * np.where(lesion, 0.4, 1)
    facts = {"SOPClassUID": UltrasoundImageStorage, "Modality": "US"}
    return write_image(path, values.clip(0, 255).astype(np.uint8), **{**PATIENT, **facts})


class Arrivals(threading.Thread):
    """When the result of each study came to Orthanc; it is asked twenty times a second."""

    def __init__(self, orthanc: Orthanc) -> None:
        super().__init__(daemon=True)
        self.orthanc, self.seen, self._stop_asking = orthanc, dict[str, float](), threading.Event()

    def run(self) -> None:
        since = 0
        while not self._stop_asking.wait(0.05):
            answer = self.orthanc.ask(f"changes?since={since}&limit=100")
            since = answer["Last"]
            for change in answer["Changes"]:
                if change["ChangeType"] == "NewStudy":
                    study = self.orthanc.ask(f"studies/{change['ID']}")
                    self.seen[study["MainDicomTags"]["StudyInstanceUID"]] = time.monotonic()

    def wait(self, studies: list[str], seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
        end = time.monotonic() + seconds
        while not set(studies) <= self.seen.keys():
            assert time.monotonic() < end, f"{len(set(studies) - self.seen.keys())} results are missing"
            meanwhile()
            time.sleep(0.1)

    def stop(self) -> None:
        self._stop_asking.set()
        self.join()


def send_all(studies: list[Study], port: int) -> dict[str, float]:
    """Send studies as fast as they are taken; when each was acknowledged."""

    def send(study: Study) -> tuple[str, float]:
        send_until_acknowledged(study[1], port)
        return study[0], time.monotonic()

    with ThreadPoolExecutor(SENDERS) as pool:
        return dict(pool.map(send, studies))


def throughput(studies: list[Study], node: NodeProcess, arrivals: Arrivals) -> float:
    """Studies a minute, from the first that is sent to the last that is stored."""
    began = time.monotonic()
    send_all(studies, node.port)
    arrivals.wait([study for study, _ in studies], 60 + 2 * len(studies))
    return 60 * len(studies) / (max(arrivals.seen[study] for study, _ in studies) - began)


def latencies(studies: list[Study], node: NodeProcess, arrivals: Arrivals, pause: float) -> list[float]:
    """Seconds from each study's acknowledgement to its result, where a study comes every so often."""
    acknowledged: dict[str, float] = {}
    for study in studies:
        due = time.monotonic() + pause
        acknowledged |= send_all([study], node.port)
        time.sleep(max(0.0, due - time.monotonic()))
    arrivals.wait(list(acknowledged), 120)
    return [arrivals.seen[study] - when for study, when in acknowledged.items()]


def long_series(folder: Path, slices: int, node: NodeProcess, arrivals: Arrivals) -> dict[str, float]:
    """Seconds to send it, and from then to its result; the greatest memory of all processes meanwhile."""
    study, draw = generate_uid(), np.random.default_rng(0)
    voxels = draw.integers(-1000, 1000, (512, 512, slices), dtype=np.int16)
    facts = {**PATIENT, "StudyInstanceUID": study, "SeriesDescription": "long series", "SliceThickness": "1"}
    write_series(folder, voxels, np.diag([-0.7, -0.7, 1, 1]), **facts, FrameOfReferenceUID=generate_uid())
    peak, began = [0], time.monotonic()
    files = sorted(folder.iterdir())
    acknowledged = send_all([(study, files)], node.port)[study]
    arrivals.wait([study], 3600, lambda: peak.append(sum(node.memory())))
    result = arrivals.seen[study] - acknowledged
    return {"series_sent_s": acknowledged - began, "series_result_s": result, "series_peak_mib": max(peak) / 2**20}


@contextmanager
def started(folder: Path) -> Iterator[tuple[NodeProcess, Arrivals]]:
    """A node that has loaded its bundles, and what watches where its results go."""
    make_bundles(folder)
    with running(folder / "orthanc") as orthanc:
        node, arrivals = NodeProcess(folder, settings(folder, orthanc), threads=None), Arrivals(orthanc)
        arrivals.start()
        node.start()
        try:
            node.wait()
            yield node, arrivals
            arrivals.stop()
        finally:
            assert node.end() == 0, node.log


def measure(folder: Path, studies: int, slices: int, data: Path | None) -> dict[str, Any]:
    (folder / "sent").mkdir(parents=True)
    source = single_studies(folder / "sent", data)

    def some(number: int) -> list[Study]:
        return [next(source) for _ in range(number)]

    with started(folder) as (node, arrivals):
        throughput(some(WARMING), node, arrivals)
        first = studies // 10
        pace = throughput(some(first), node, arrivals)
        memory_first = node.memory()
        print(f"{pace:.0f} studies a minute; {memory_first} bytes", flush=True)
        delays = latencies(some(min(LATENCIES, first)), node, arrivals, 2 * 60 / pace)
        print(f"latency {statistics.median(delays):.2f} s", flush=True)
        throughput(some(studies - first), node, arrivals)
        memory_last = node.memory()
        series = long_series(folder / "series", slices, node, arrivals)
    return {
        "studies": studies,
        "real": "yes" if data else "no",
        "studies_a_minute": pace,
        "latency_median_s": statistics.median(delays),
        "latency_p95_s": float(np.quantile(delays, 0.95)),
        "node_mib_first": memory_first[0] / 2**20,
        "node_mib_last": memory_last[0] / 2**20,
        "child_mib_first": memory_first[1] / 2**20,
        "child_mib_last": memory_last[1] / 2**20,
        "memory_ratio": sum(memory_last) / sum(memory_first),
        "slices": slices,
        **series,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--studies", type=int, default=1000)
    arguments.add_argument("--slices", type=int, default=300)
    arguments.add_argument("--data", type=Path, help="folder of real DICOM files")
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--keep", type=Path, help="folder for all files, which stays")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        row = measure(given.keep or Path(temporary), given.studies, given.slices, given.data)
    row = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()}
    print(row)
    if given.out:
        write_row(given.out, COLUMNS, row | {"seed": ""})


if __name__ == "__main__":
    main()
