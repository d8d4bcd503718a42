"""A real Orthanc as Debian packages it, with its DICOMweb plugin, in a folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy is between us and 127.0.0.1


@dataclass(frozen=True)
class Orthanc:
    """One that runs: its ports, all at 127.0.0.1."""

    folder: Path
    dicom: int
    http: int
    ae_title: str = "ORTHANC"

    @property
    def web(self) -> str:
        """Where its DICOMweb is."""
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def ask(self, path: str, data: bytes | None = None, method: str | None = None) -> Any:
        """What its own interface answers: JSON, or bytes."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/{path}", data, method=method)
        with _LOCAL.open(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if answer.headers.get_content_type() == "application/json" else body

    def file(self, sop_uid: str) -> bytes:
        """An instance as it is stored."""
        (found,) = self.ask("tools/lookup", sop_uid.encode())
        return bytes(self.ask(f"instances/{found['ID']}/file"))

    def sop_uids(self) -> set[str]:
        """Of all instances that are stored."""
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in self.ask("instances?expand")}

    def clear(self) -> None:
        """Remove all that is stored."""
        for patient in self.ask("patients"):
            self.ask(f"patients/{patient}", method="DELETE")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def refuse_missing() -> None:
    """Skip where Orthanc is not there."""
    if not (shutil.which("Orthanc") or Path("/usr/sbin/Orthanc").exists()) or not _PLUGIN.exists():
        pytest.skip("Orthanc and its DICOMweb plugin are not installed (Debian: orthanc, orthanc-dicomweb)")


@contextmanager
def running(folder: Path, settings: Mapping[str, Any] | None = None) -> Iterator[Orthanc]:
    """An Orthanc that keeps all it has in a folder, and takes what anyone here sends.

    Args:
        folder: of its own.
        settings: of its configuration, in addition.
    """
    refuse_missing()
    here = Orthanc(folder, free_port(), free_port())
    configuration = {
        "Name": "test",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(_PLUGIN)],
        "DicomAet": here.ae_title,
        "DicomPort": here.dicom,
        "HttpPort": here.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "OverwriteInstances": False,
        "SaveJobs": False,
        "DicomScuTimeout": 5,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
        **(settings or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "--verbose", str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(here, process)
            yield here
        finally:
            process.kill()  # to end by itself takes it seconds, and its folder is thrown away
            process.wait()


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One for all tests of a process; what they store in it is of their own UIDs."""
    with running(tmp_path_factory.mktemp("orthanc")) as here:
        yield here


def _wait(here: Orthanc, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            here.ask("system")
            here.ask("dicom-web/studies")
        except OSError:
            assert process.poll() is None, (here.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        else:
            return
    raise AssertionError("Orthanc does not answer")
