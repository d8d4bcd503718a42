"""What a series is called, of which its UIDs are independent."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from dicom_objects import MODEL, outlined, radiograph
from hypothesis import given
from hypothesis import strategies as st

from delineate.pipelines.imaging.objects import ObjectFormat, encode, identity
from delineate.pipelines.imaging.objects.identity import RESEARCH, describe_series

LONG = "Heart, lungs and clavicles in chest X-rays"
KINDS: tuple[ObjectFormat, ...] = ("seg", "sc", "sr")


@given(kind=st.sampled_from(KINDS), name=st.text(max_size=100))
def test_a_series_says_what_it_is_for_however_long_the_name(kind: str, name: str) -> None:
    said = describe_series(kind, name)
    assert len(said) <= 64
    assert said.startswith(f"{kind.upper()} {name[:20].rstrip()}")
    assert said.endswith(f" ({RESEARCH})")
    assert f" {name} (" in said or "... (" in said


@pytest.mark.parametrize("kind", KINDS)
def test_uids_do_not_depend_on_what_a_series_is_called(
    kind: ObjectFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = outlined([(radiograph(tmp_path / "a.dcm"), 0)], model=replace(MODEL, name=LONG))
    made = read(encode(kind, source))
    assert made.SeriesDescription == describe_series(kind, LONG)
    monkeypatch.setattr(identity, "describe_series", lambda kind, name: "another")
    other = read(encode(kind, source))
    assert other.SeriesDescription == "another"
    assert (other.SeriesInstanceUID, other.SOPInstanceUID) == (made.SeriesInstanceUID, made.SOPInstanceUID)


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))
