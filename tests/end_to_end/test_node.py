"""The node as a hospital runs it: real processes, real programs, and a SIGKILL now and then."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_objects import radiograph
from node_process import NodeProcess
from orthanc import Orthanc, running
from PIL import Image
from processes import call, inside, succeeded
from pydicom.uid import generate_uid
from scripts import script
from structured_bundles import structured_bundle

pytestmark = pytest.mark.slow

STORESCU = shutil.which("storescu", path="/usr/bin:/usr/local/bin")  # pip's pynetdicom may have one of that name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    structured_bundle(folder / "chest", False, "nerve")
    return folder


@pytest.fixture(scope="module")
def orthanc(folder: Path) -> Iterator[Orthanc]:
    with running(folder / "orthanc") as orthanc:
        yield orthanc


@pytest.fixture(scope="module")
def node(folder: Path, orthanc: Orthanc) -> Iterator[NodeProcess]:
    destination = {"name": "pacs", "host": "127.0.0.1", "port": orthanc.dicom, "ae_title": orthanc.ae_title}
    node = NodeProcess(folder / "running", settings(folder, destinations=[destination]))
    node.start()
    node.wait()
    yield node
    assert node.process
    if node.process.poll() is None:
        node.end(signal.SIGKILL)


def settings(folder: Path, **keys: Any) -> dict[str, Any]:
    rule = {"name": "chest", "match": {"modality": "CR"}, "bundle": str(folder / "chest"), "send_to": "pacs"}
    small = {"completeness": {"idle_seconds": 5, "at_release": True}, "limits": {"free_mib": 10}}
    return {
        "rules": [rule],
        "destinations": [{"name": "pacs", "host": "::1", "port": 9, "ae_title": "X"}],
        **small,
        **keys,
    }


def wait_until(ready: Any, node: NodeProcess, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, node.log
        time.sleep(0.05)


def audit(node: NodeProcess, event: str) -> list[dict[str, Any]]:
    lines = [line for path in (node.folder / "node/audit").iterdir() for line in path.read_text().splitlines()]
    return [found for line in lines if (found := json.loads(line))["event"] == event]


def test_a_study_goes_in_and_its_segmentation_is_in_the_archive(
    folder: Path, node: NodeProcess, orthanc: Orthanc
) -> None:
    if STORESCU is None:
        pytest.skip("storescu is not installed (Debian: dcmtk)")
    import highdicom as hd

    image = radiograph(folder / "chest.dcm", StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid())
    succeeded(call(STORESCU, "-aec", "DELINEATE", "127.0.0.1", str(node.port), str(image)))
    wait_until(lambda: node.ask()["jobs"]["sent"] == 1, node)
    words = ("segment", folder / "chest", image, "--out", folder / "ours", "--format", "png,seg")
    succeeded(inside(*words))
    (stored,) = (folder / "running/node/results").rglob("*.dcm")
    assert stored.read_bytes() == (folder / "ours/chest_seg.dcm").read_bytes()
    uid = pydicom.dcmread(stored).SOPInstanceUID
    (folder / "back.dcm").write_bytes(orthanc.file(uid))
    seg = hd.seg.segread(folder / "back.dcm")
    for one in seg.SegmentSequence:
        source = [pydicom.dcmread(image).SOPInstanceUID]
        found = seg.get_pixels_by_source_instance(source, segment_numbers=[one.SegmentNumber])[0, ..., 0]
        name = one.SegmentLabel.replace(" ", "_")
        mask = np.asarray(Image.open(folder / f"ours/chest_{name}_mask.png")) // 255
        assert mask.any()
        np.testing.assert_array_equal(found, mask)


def test_what_the_archive_has_is_not_segmented_again(folder: Path, node: NodeProcess) -> None:
    if STORESCU is None:
        pytest.skip("storescu is not installed (Debian: dcmtk)")
    (stored,) = (folder / "running/node/results").rglob("*.dcm")
    succeeded(call(STORESCU, "-R", "-aec", "DELINEATE", "127.0.0.1", str(node.port), str(stored)))
    wait_until(lambda: node.ask()["jobs"]["done"] == 1, node)
    assert audit(node, "done")[0]["reason"] == "not segmented: a result of Delineate"


def test_no_name_of_a_patient_is_in_the_audit_the_log_or_the_queue(node: NodeProcess) -> None:
    files = [
        *(node.folder / "node/audit").iterdir(),
        node.folder / "log",
        *(node.folder / "node").glob("queue.sqlite*"),
    ]
    assert not any(b"Yamada" in path.read_bytes() for path in files)


def test_its_own_process_does_without_torch(node: NodeProcess) -> None:
    assert node.process
    maps = Path(f"/proc/{node.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not tell what a process has loaded")
    assert "torch" not in maps.read_text()


def test_a_second_node_in_the_folder_is_refused(node: NodeProcess) -> None:
    done = inside("node", "run", node.folder / "node.yaml")
    assert done.returncode == 1
    assert "a node runs there already" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sigterm_ends_it_with_exit_code_0(node: NodeProcess) -> None:
    assert node.end(signal.SIGTERM) == 0
    assert audit(node, "stopped")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's, of refused connections
def test_killed_again_and_again_each_study_has_one_result(tmp_path: Path) -> None:
    row = script("node_kill").measure(tmp_path, kills=3, seed=1, longest=0.8, pause=0.3, idle=0.3, series=False)
    assert row["exactly_one"] == row["studies"] > 0, row
