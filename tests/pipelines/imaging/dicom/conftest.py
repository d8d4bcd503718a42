from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

SERIES = generate_uid()

Build = Callable[..., Dataset]
Write = Callable[..., Path]


@pytest.fixture
def build() -> Build:
    """A sound image of the given values, (R, C), (F, R, C) or (R, C, 3), with other attributes where named."""

    def data_set(values: np.ndarray, colour: bool = False, **attributes: Any) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = SERIES
        dataset.PatientID, dataset.Modality = "patient", "CT"
        frames = values[None] if values.ndim == 2 + colour else values
        if len(frames) > 1:
            dataset.NumberOfFrames = len(frames)
        dataset.Rows, dataset.Columns = frames.shape[1:3]
        dataset.SamplesPerPixel = 3 if colour else 1
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(values.dtype.kind == "i")
        dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
        for name, value in attributes.items():
            setattr(dataset, name, value)
        dataset["PixelData"].VR = "OW" if values.itemsize > 1 else "OB"
        return dataset

    return data_set


@pytest.fixture
def write(tmp_path: Path, build: Build) -> Write:
    """The file of such an image."""

    def file(
        values: np.ndarray, name: str = "a.dcm", syntax: UID | None = None, packed: UID | None = None, **options: Any
    ) -> Path:
        dataset = build(values, **options)
        if packed:  # the pixel data given are in this syntax
            dataset.file_meta.TransferSyntaxUID = packed
            dataset["PixelData"].VR = "OB"
        elif syntax and syntax.is_encapsulated:
            dataset.compress(syntax, encoding_plugin="pydicom" if syntax == RLELossless else "pyjpegls")
        elif syntax:
            dataset.file_meta.TransferSyntaxUID = syntax
        return save(dataset, tmp_path / name)

    return file


def save(dataset: Dataset, path: Path) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(name="save")
def save_fixture() -> Callable[[Dataset, Path], Path]:
    return save
