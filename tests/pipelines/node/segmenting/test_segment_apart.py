from __future__ import annotations

import errno
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import write_series
from dicom_objects import PATIENT, radiograph
from pydicom import dcmread
from pydicom.uid import generate_uid
from structured_bundles import structured_bundle

from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.node.segmenting.segment_apart import answer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structured_bundle(tmp_path_factory.mktemp("apart") / "ct", False, "ct_slice")


def ask(bundle: Path, folder: Path, *formats: str, **settings: Any) -> dict[str, Any]:
    asked = {"inputs": str(folder / "in"), "out": str(folder / "out"), "formats": formats, "seg_type": "binary"}
    request = {"bundle": {"bundle": str(bundle), "trust": False, "settings": settings}, **asked}
    answered: dict[str, Any] = json.loads(answer(json.dumps(request).encode()))
    return answered


def test_objects_are_those_of_the_segmenter_and_named_by_hashes(bundle: Path, tmp_path: Path) -> None:
    voxels = np.random.default_rng(2).integers(-200, 300, (24, 20, 5), dtype=np.int16)
    facts = {**PATIENT, "FrameOfReferenceUID": generate_uid(), "SliceThickness": "4"}
    write_series(tmp_path / "in", voxels, np.diag([-1.5, -2, 4, 1]), **facts)
    answered = ask(bundle, tmp_path, "seg", "sc", threshold=0.4)
    segmenter = Segmenter(bundle, threshold=0.4)
    (result,) = segmenter.segment(tmp_path / "in")
    assert answered["model"] == segmenter.admission.hash
    assert (answered["refused"], answered["skipped"]) == ([], [])
    for kind, one in zip(("seg", "sc"), answered["objects"], strict=True):
        expected = result.save(tmp_path / f"{kind}.dcm", formats=kind)
        assert (tmp_path / "out" / one["file"]).read_bytes() == expected.read_bytes()
        header = dcmread(expected)
        assert (one["sop_class"], one["sop_uid"]) == (header.SOPClassUID, header.SOPInstanceUID)
        assert one["file"] == f"{sha256(one['sop_uid'].encode()).hexdigest()}.dcm"


def test_each_image_has_an_object_or_a_reason(bundle: Path, tmp_path: Path) -> None:
    for number in range(2):
        radiograph(tmp_path / f"in/{number}.dcm", SOPInstanceUID=generate_uid())
    radiograph(tmp_path / "in/ours.dcm", Manufacturer="Delineate", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    (tmp_path / "in/short.dcm").write_bytes((tmp_path / "in/0.dcm").read_bytes()[:800])
    answered = ask(bundle, tmp_path, "seg")
    assert len(answered["objects"]) == 2
    assert answered["refused"] == ["has no image (Rows and Columns are missing); copy or export it again"]
    assert len(answered["skipped"]) == 1
    assert str(tmp_path) not in json.dumps(answered)


def test_a_full_disk_is_told_apart(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ValueError("it cannot be written") from error

    radiograph(tmp_path / "in/0.dcm")
    monkeypatch.setattr("delineate.pipelines.inference.outputs.write_outputs", write)
    assert ask(bundle, tmp_path, "seg")["no_room"]
