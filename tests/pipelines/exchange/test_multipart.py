from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delineate.pipelines.exchange.multipart import Limits, MultipartError, split, write_parts

KIND = 'multipart/related; type="application/dicom"; boundary="b"'
LIMITS = Limits(100, 10)


def body(parts: list[bytes], boundary: bytes = b"b") -> bytes:
    between = b"\r\n--" + boundary
    head = b"\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join(between + head + part for part in parts) + between + b"--\r\n"


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.text("\r\n-bx", max_size=12).map(str.encode).filter(lambda part: b"\r\n--b" not in b"\r\n" + part + b"\r")
    ),
    st.integers(1, 9),
    st.booleans(),
)
def test_parts_come_out_as_they_went_in_however_they_are_cut(parts: list[bytes], size: int, preamble: bool) -> None:
    sent = body(parts) if preamble else body(parts)[2:]
    found, current = [], b""
    for piece in split(pieces(sent, size), b"b"):
        if piece is None:
            found.append(current)
            current = b""
        else:
            current += piece
    assert found == parts


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60))
def test_what_ends_early_is_refused(end: int) -> None:
    sent = body([b"one", b"two"])
    assert len(sent) - 4 > 60
    with TemporaryDirectory() as folder, pytest.raises(MultipartError, match="broke off"):
        write_parts([sent[:end]], KIND, Path(folder), LIMITS)


def test_files_are_named_by_what_they_hold(tmp_path: Path) -> None:
    found = write_parts([body([b"one", b"two", b"one"])], KIND, tmp_path, LIMITS)
    assert [path.name for path in found] == [f"{sha256(part).hexdigest()}.dcm" for part in (b"one", b"two")]
    assert [path.read_bytes() for path in found] == [b"one", b"two"]


def test_one_instance_may_come_without_an_envelope(tmp_path: Path) -> None:
    (path,) = write_parts([b"o", b"ne"], "application/dicom; transfer-syntax=*", tmp_path, LIMITS)
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize(
    ("parts", "kind", "reason"),
    [
        ([b"x" * 101], KIND, "an instance of more than 100 bytes"),
        ([b"%d" % number for number in range(11)], KIND, "more than 10 instances"),
        ([b"x"], "text/html", "sends text/html, no DICOM"),
        ([b"x"], "", "sends something without a type, no DICOM"),
        ([b"x"], "multipart/related", "sends multipart/related, no DICOM"),
    ],
)
def test_what_is_too_much_or_something_else_is_refused(
    tmp_path: Path, parts: list[bytes], kind: str, reason: str
) -> None:
    with pytest.raises(MultipartError, match=reason):
        write_parts(pieces(body(parts), 7), kind, tmp_path, LIMITS)
    assert not list(tmp_path.glob(".*"))


def test_a_header_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MultipartError, match="without an end of its header"):
        write_parts([b"--b\r\n", *[b"x" * 2**12] * 20], KIND, tmp_path, LIMITS)
