"""A study on a server: what is asked of it, when, and what is not segmented."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from dicom_objects import outlined, radiograph
from processes import call, succeeded
from web_servers import Reply, Request, in_json, web_server

from delineate.pipelines.cli.remote import Inputs, Remote
from delineate.pipelines.core.errors import InputError, SkippedError
from delineate.pipelines.exchange.dicomweb import Server
from delineate.pipelines.imaging.objects import encode

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
REFUSALS = """
import sys
from delineate.pipelines.cli import app
from delineate.pipelines.core.errors import DelineateError
url = sys.argv[1]
words = ["segment", "ct_slice", "--stow", "--dicomweb"]
for more in ([url, "--study", "1.2"], [url, "--study", "../x"], [url, "--study", "1.2", "--token-file", "none"],
             ["pacs", "--study", "1.2"], ["http://127.0.0.1:9/x", "--study", "1.2"]):
    try:
        app(words + more, standalone_mode=False)
    except DelineateError as error:
        print(error)
print([name for name in ("torch", "monai") if name in sys.modules])
"""


def fetched(url: str) -> tuple[list[Inputs], list[InputError]]:
    refused: list[InputError] = []
    return list(Remote(Server(url), "1.2").located().fetch(refused.append)), refused


def own_pictures(folder: Path) -> Reply:
    """A series of two, as a server gives it out."""
    pictures = [
        encode("sc", outlined([(radiograph(folder / name, InstanceNumber=number), 0)]))
        for number, name in enumerate(("a.dcm", "b.dcm"), 1)
    ]
    parts = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in pictures)
    return Reply(200, parts + b"--x--\r\n", 'multipart/related; type="application/dicom"; boundary=x')


@pytest.mark.parametrize("manufacturer", ["Delineate", ""])
def test_our_own_pictures_are_passed_over_in_one_line(manufacturer: str, tmp_path: Path) -> None:
    row: dict[str, Any] = {"0020000E": {"vr": "UI", "Value": ["1.2.3"]}, "00080060": {"vr": "CS", "Value": ["OT"]}}
    row |= {"00080070": {"vr": "LO", "Value": [manufacturer]}} if manufacturer else {}
    pictures = own_pictures(tmp_path)

    def answer(request: Request) -> Reply:
        return pictures if request.path.endswith("/series/1.2.3") else in_json([row])

    with web_server(answer) as (url, asked):
        inputs, refused = fetched(url)
    reason = "is a series of pictures with outlines that Delineate drew; passed over"
    assert [str(one) for one in refused] == [f"{url}/studies/1.2/series/1.2.3: {reason}"]
    assert isinstance(refused[0], SkippedError)
    assert not inputs
    assert any(one.path.endswith("/series/1.2.3") for one in asked) == (not manufacturer)  # else it is not fetched


def test_a_secondary_capture_of_others_is_fetched(tmp_path: Path) -> None:
    image = radiograph(tmp_path / "a.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Manufacturer="Others")
    rows = [{"0020000E": {"vr": "UI", "Value": ["1.2.3"]}, "00080070": {"vr": "LO", "Value": ["Others"]}}]
    whole = Reply(200, image.read_bytes(), "application/dicom")
    with web_server(lambda request: whole if request.path.endswith("/1.2.3") else in_json(rows)) as (url, _):
        inputs, refused = fetched(url)
    assert (len(inputs), refused) == (1, [])


def test_what_a_server_refuses_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    with web_server(lambda request: Reply(204)) as (url, _):
        done = succeeded(
            call(
                sys.executable,
                "-c",
                REFUSALS,
                url,
                cwd=tmp_path,
                env={"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
            )
        )
    *told, imported = done.stdout.splitlines()
    wanted = ("there is no such study", "is no UID", "the token cannot be read", "is no URL", "cannot be reached")
    assert len(told) == len(wanted)
    assert all(words in line for words, line in zip(wanted, told, strict=True)), told
    assert imported == "[]"
