"""Sources that DICOM objects are of, and what validators say of the objects."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import element, write_image
from pydicom.config import disable_value_validation
from pydicom.uid import ComputedRadiographyImageStorage, UltrasoundMultiFrameImageStorage, generate_uid

from delineate.pipelines.imaging.objects import Model, Outlined, Picture
from delineate.pipelines.imaging.structures import structures_of

STRUCTURES = structures_of(
    [{"name": "lesion", "code": {"scheme": "SCT", "value": "52988006", "meaning": "Lesion"}}, {"name": "Säume"}]
)
MODEL = Model("skin_lesion", "0.3.0", "ab" * 32, (("lesion", 0.5), ("Säume", 0.4)), "0.3.0")
PATIENT: dict[str, Any] = {
    "PatientName": "Yamada^Tarou",
    "PatientID": "../../x",
    "PatientBirthDate": "19600102",
    "PatientSex": "O",
    "PatientAge": "060Y",
    "StudyInstanceUID": generate_uid(),
    "SeriesInstanceUID": generate_uid(),
    "StudyDate": "20200102",
    "StudyTime": "101112",
    "StudyID": "7",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
    "InstanceNumber": 5,
    "SeriesNumber": 2,
}
RNG = np.random.default_rng(0)


def validators() -> None:
    """Skip where dicom3tools are not there."""
    if not (shutil.which("dciodvfy") and shutil.which("dcentvfy")):
        pytest.skip("dciodvfy and dcentvfy are not installed (Debian: dicom3tools)")


def errors(*command: str | Path) -> list[str]:
    """What a validator calls an error."""
    done = subprocess.run(list(map(str, command)), capture_output=True, check=False)
    return [line for line in (done.stdout + done.stderr).decode("utf-8", "replace").splitlines() if "Error" in line]


def radiograph(path: Path, **attributes: Any) -> Path:
    """A chest X-ray of 20 x 30, without a frame of reference."""
    values = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    facts = {"SOPClassUID": ComputedRadiographyImageStorage, "Modality": "CR", "PatientOrientation": ["L", "F"]}
    with disable_value_validation():
        return write_image(path, values, **(PATIENT | facts | {"BodyPartExamined": "BREAST"} | attributes))


def cine(path: Path, frames: int = 4) -> Path:
    """An ultrasound film of 20 x 30."""
    values = RNG.integers(0, 256, (frames, 20, 30), dtype=np.uint8)
    return write_image(path, values, **PATIENT, SOPClassUID=UltrasoundMultiFrameImageStorage, Modality="US")


def enhanced(path: Path, frames: int = 4) -> Path:
    """An enhanced MR of 20 x 30, its frames stored from the last place to the first."""
    groups = [
        element(PlanePositionSequence=[element(ImagePositionPatient=[0, 0, -number])]) for number in range(frames)
    ]
    shared = element(
        PlaneOrientationSequence=[element(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[element(PixelSpacing=[2, 1], SliceThickness=1)],
    )
    sequences = {"PerFrameFunctionalGroupsSequence": groups, "SharedFunctionalGroupsSequence": [shared]}
    facts = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.1", "Modality": "MR", "FrameOfReferenceUID": generate_uid()}
    return write_image(path, RNG.integers(0, 256, (frames, 20, 30), dtype=np.uint8), **(PATIENT | facts | sequences))


def outlined(frames: Sequence[tuple[Path, int]], **changes: Any) -> Outlined:
    """Two structures of noise, which overlap, on frames of 20 x 30."""
    chosen = np.random.default_rng(1)
    masks = chosen.integers(0, 2, (2, len(frames), 20, 30), dtype=np.uint8)
    picture = Picture(chosen.integers(0, 256, (20, 30, 3), dtype=np.uint8), [0])
    facts: dict[str, Any] = {
        "source": str(frames[0][0]) if frames else "a.png",
        "frames": tuple(frames),
        "masks": masks,
        "probabilities": chosen.random(masks.shape, dtype=np.float32),
        "structures": STRUCTURES,
        "model": MODEL,
        "picture": lambda: picture,
    }
    return Outlined(**(facts | changes))
