"""The ten commands of docs/hospital.md, typed into a shell as they stand, but for ports and pauses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from dicom_objects import radiograph
from documents import ROOT, blocks
from orthanc import free_port, refuse_missing
from processes import environment, inside, succeeded
from structured_bundles import structured_bundle

pytestmark = pytest.mark.slow
STORESCU = Path("/usr/bin/storescu")


def commands(ports: dict[str, int]) -> str:
    """As they stand, without those that install and look; on other ports, and a series is complete at once."""
    (block,) = (one for one in blocks((ROOT / "docs" / "hospital.md").read_text(), "sh") if "route.lua" in one)
    lines = [line for line in block.splitlines() if not line.startswith(("sudo", "curl", "sleep 45"))]
    text = re.sub(r"\b(4242|8042|11112)\b", lambda found: str(ports[found[0]]), "\n".join(lines))
    text = text.replace("do sleep 1;", "do sleep 0.1;")
    changes = {"idle_seconds: 30": "idle_seconds: 0.2"} | {f"port: {old}": f"port: {new}" for old, new in ports.items()}
    edit = "; ".join(f"s|{old}|{new}|" for old, new in changes.items())
    assert "delineate node init node\n" in text
    return text.replace("delineate node init node\n", f"delineate node init node\nsed -i '{edit}' node/node.yaml\n")


def segmentations(port: int) -> list[dict[str, Any]]:
    """What the last of the ten commands prints."""
    query = '{"Level": "Series", "Query": {"Modality": "SEG"}, "Expand": true}'
    words = ["curl", "-s", "--noproxy", "*", f"http://127.0.0.1:{port}/tools/find", "-d", query]
    found: list[dict[str, Any]] = json.loads(subprocess.run(words, capture_output=True, check=False).stdout or "[]")
    return found


def test_an_x_ray_that_is_sent_to_the_archive_has_a_segmentation_there(tmp_path: Path) -> None:
    refuse_missing()
    if not STORESCU.exists() or not shutil.which("curl"):
        pytest.skip("storescu or curl is not installed (Debian: dcmtk, curl)")
    structured_bundle(tmp_path / "runs" / "chest", False, "nerve")
    radiograph(tmp_path / "chest.dcm")
    ports = {port: free_port() for port in ("4242", "8042", "11112", "11180")}
    words = ["bash", "-c", f"{commands(ports)}\nwait"]
    shell = subprocess.Popen(words, cwd=tmp_path, env=environment(), start_new_session=True)
    try:
        end = time.monotonic() + 90
        while not (found := segmentations(ports["8042"])) and time.monotonic() < end:
            time.sleep(0.2)
        node = (tmp_path / "node.log").read_text()
        assert len(found) == 1, node
        assert found[0]["MainDicomTags"]["Manufacturer"] == "Delineate"
        assert "\tchest\t" in succeeded(inside("node", "list", "node", cwd=tmp_path)).stdout
    finally:
        os.killpg(shell.pid, signal.SIGKILL)  # Orthanc and the node, too
        shell.wait()
