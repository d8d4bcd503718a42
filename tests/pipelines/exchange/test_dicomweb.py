from __future__ import annotations

import gzip
import threading
from pathlib import Path
from typing import Any

import pytest
from certificates import signed
from dicom_peers import listening, outgoing, silent
from web_servers import Reply, Request, in_json, web_server

from delineate.pipelines.exchange import Certificates, ExchangeError, Outgoing, dicomweb
from delineate.pipelines.exchange.dicomweb import FoundSeries, Server, find_series, is_uid, retrieve_series, store

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
STUDY, SERIES = "1.2.3", "1.2.3.4"
FOUND = FoundSeries(STUDY, SERIES, "CT", "")


def row(uid: str, modality: str = "CT") -> dict[str, Any]:
    return {
        "0020000E": {"vr": "UI", "Value": [uid]},
        "00080060": {"vr": "CS", "Value": [modality]},
        "0008103E": {"vr": "LO"},
    }


def items(*uids: str, failure: int | None = None) -> dict[str, Any]:
    reason = {} if failure is None else {"00081197": {"vr": "US", "Value": [failure]}}
    return {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}} | reason for uid in uids]}


def reason(url: str, one: Outgoing, **settings: Any) -> str:
    (answer,) = store(Server(url, **settings), [one])
    assert answer.sop_uid == one.sop_uid
    assert "\n" not in answer.reason
    return answer.reason


def stored(one: Outgoing) -> Reply:
    return in_json({"00081199": items(one.sop_uid)})


@pytest.mark.parametrize("slash", ["", "/", "//"])
def test_series_are_found_whether_or_not_the_url_ends_in_a_slash(slash: str) -> None:
    with web_server(lambda request: in_json([row("1.5"), row("1.4", "SEG")])) as (url, asked):
        found = find_series(Server(url + slash), STUDY)
    assert [(one.uid, one.modality) for one in found] == [("1.4", "SEG"), ("1.5", "CT")]
    assert {request.path.partition("?")[0] for request in asked} == {"/dicom-web/studies/1.2.3/series"}
    assert asked[0].headers["Host"] in url  # with its port


def test_a_server_is_asked_who_made_a_series() -> None:
    made = row("1.4") | {"00080070": {"vr": "LO", "Value": ["Others"]}}
    with web_server(lambda request: in_json([made, row("1.5")])) as (url, asked):
        assert [one.manufacturer for one in find_series(Server(url), STUDY)] == ["Others", ""]
    assert "Manufacturer" in asked[0].path


def test_pages_are_put_together() -> None:
    pages = [[row("1.1"), row("1.2")], [row("1.3")], []]
    with web_server(lambda request: in_json(pages.pop(0))) as (url, asked):
        assert [one.uid for one in find_series(Server(url), STUDY)] == ["1.1", "1.2", "1.3"]
    assert ["offset" in request.path for request in asked] == [False, True, True]


def test_pages_without_end_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicomweb, "_MOST_SERIES", 5)
    with web_server(lambda request: in_json([row(f"1.{len(asked) + 1}")])) as (url, asked):
        with pytest.raises(ExchangeError, match="names more than 5 series of one study; look into its log"):
            find_series(Server(url), STUDY)
        assert len(asked) == 6


def test_nothing_found_is_nothing() -> None:
    with web_server(lambda request: Reply(204)) as (url, _):
        assert find_series(Server(url), STUDY) == []


def test_a_uid_that_leads_elsewhere_is_never_asked_for() -> None:
    with web_server(lambda request: in_json([row("../../x"), row("1.2/3"), row(""), {}])) as (url, asked):
        assert find_series(Server(url), STUDY) == []
        with pytest.raises(ExchangeError, match=r"\.\./x is no UID"):
            find_series(Server(url), "../x")
    assert len(asked) == 1
    assert not is_uid("1." + "2" * 63)
    assert not is_uid("1..2")


def test_the_token_is_read_each_time_and_headers_are_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    with web_server(lambda request: in_json([])) as (url, asked):
        server = Server(url, token, {"X-Key": "k"})
        find_series(server, STUDY)
        token.write_text("two")
        find_series(server, STUDY)
        assert [request.headers["Authorization"] for request in asked] == ["Bearer one", "Bearer two"]
        assert asked[0].headers["X-Key"] == "k"
        token.write_text("two words")
        with pytest.raises(ExchangeError, match="holds no token"):
            find_series(server, STUDY)
        token.unlink()
        with pytest.raises(ExchangeError, match="token cannot be read"):
            find_series(server, STUDY)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401), "answers 401 Unauthorized; name a token that it takes"),
        (Reply(403), "answers 403 Forbidden; its token or account may not do this"),
        (Reply(404), "answers 404 Not Found; check the URL, which ends in e.g. /dicom-web, and the UIDs"),
        (Reply(500, b"<html>trace\nback"), "answers 500 Internal Server Error; look into its log"),
        (Reply(503), "answers 503 Service Unavailable; look into its log"),
        (Reply(302, headers={"Location": "http://other.example/"}), "sends us elsewhere (status 302); name the URL"),
        (Reply(200, b"<html>", "text/html"), "answers what is no DICOMweb; check the URL"),
        (Reply(200, b"[1, 2]"), "answers what is no DICOMweb; check the URL"),
        (
            Reply(200, gzip.compress(b"[]"), headers={"Content-Encoding": "gzip"}),
            "packs its answer though asked not to",
        ),
        (Reply(200, b"[" + b" " * 100, cut=20), "broke off in the middle of its answer; ask it again"),
    ],
)
def test_what_a_server_answers_is_one_line_with_a_remedy(tmp_path: Path, reply: Reply, said: str) -> None:
    (image,) = outgoing(tmp_path)
    with web_server(lambda request: reply) as (url, asked):
        with pytest.raises(ExchangeError) as refused:
            find_series(Server(url), STUDY)
        assert len(asked) == 1
        with pytest.raises(ExchangeError, match=r"answers|sends|broke|packs"):
            retrieve_series(Server(url), FOUND, tmp_path / "got")
        assert reason(url, image)
    assert str(refused.value).startswith(f"{url} {said}")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/x", "cannot be reached (Connection refused); is it running, and is the URL right?"),
        ("http://no.such.host.invalid/x", "cannot be reached ("),
        ("pacs.example/dicom-web", "is no URL of DICOMweb"),
        ("file:///etc/passwd", "is no URL of DICOMweb"),
        ("http://a/x?y=1", "is no URL of DICOMweb"),
    ],
)
def test_a_url_where_nobody_is_says_so(tmp_path: Path, url: str, said: str) -> None:
    (image,) = outgoing(tmp_path)
    assert reason(url, image).startswith(f"{url} {said}")


def test_a_server_that_says_nothing_or_drips_is_left(tmp_path: Path) -> None:
    released = threading.Event()

    def drip(connection: Any) -> None:
        connection.recv(2**16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\nContent-Type: application/json\r\n\r\n")
        while not released.wait(0.1):
            connection.sendall(b" ")

    (image,) = outgoing(tmp_path)
    with listening(silent) as port:
        said = reason(f"http://127.0.0.1:{port}/x", image, answer_seconds=0.2)
    assert said.endswith("says nothing for 0.2 s; look into its log")
    with listening(drip) as port, pytest.raises(ExchangeError, match="broke off"):
        find_series(Server(f"http://127.0.0.1:{port}/x", transfer_seconds=0.4), STUDY)
    released.set()


def test_an_answer_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    big = Reply(200, b"x" * 3000, "application/dicom")
    with web_server(lambda request: big) as (url, _):
        with pytest.raises(ExchangeError, match="an instance of more than 2000 bytes"):
            retrieve_series(Server(url, most_bytes=2000), FOUND, tmp_path)
        with pytest.raises(ExchangeError, match="answers with more than 2500 bytes"):
            retrieve_series(Server(url, most_series_bytes=2500), FOUND, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_instance_is_stored_where_the_server_names_it(tmp_path: Path) -> None:
    (image,) = outgoing(tmp_path, size=2000)  # more than one chunk of dicomweb-client
    with web_server(lambda request: stored(image)) as (url, asked):
        assert reason(url, image) == ""
    assert asked[0].path == "/dicom-web/studies"
    assert image.file.read_bytes() in asked[0].body


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            lambda uid: in_json({"00081198": items(uid, failure=0xA700)}, 202),
            "did not store it (failure reason 0xA700)",
        ),
        (
            lambda uid: in_json({"00081198": items(uid, failure=0x0110)}, 409),
            "did not store it (failure reason 0x0110)",
        ),
        (
            lambda uid: in_json({"00081198": items(uid), "00081199": items(uid)}),
            "did not store it (failure reason 0x0110)",
        ),
        (lambda uid: in_json({"00081199": items("1.9")}), "did not confirm that it stored it"),
        (lambda uid: in_json({}), "did not confirm that it stored it"),
        (lambda uid: Reply(200), "did not confirm that it stored it"),
        (lambda uid: in_json({}, 409), "answers 409 Conflict; check the URL and the UIDs"),
        (lambda uid: Reply(413), "answers 413 Request Entity Too Large; raise what it, or the proxy before it, lets"),
        (lambda uid: in_json({"00081199": {"vr": "SQ", "Value": 7}}), "answers what is no DICOMweb"),
        (lambda uid: Reply(200, b"<a><b>", "application/dicom+xml"), "answers what cannot be understood"),
    ],
)
def test_what_is_not_confirmed_is_not_stored(tmp_path: Path, reply: Any, said: str) -> None:
    (image,) = outgoing(tmp_path)
    with web_server(lambda request: reply(image.sop_uid)) as (url, _):
        assert reason(url, image).startswith(f"{url} {said}")


def test_answers_with_a_charset_or_as_xml_are_understood(tmp_path: Path) -> None:
    (image,) = outgoing(tmp_path)
    kind = "application/dicom+json; charset=utf-8"
    with web_server(lambda request: in_json({"00081199": items(image.sop_uid)}, kind=kind)) as (url, _):
        assert reason(url, image) == ""
    xml = (
        '<N xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">'
        '<A tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1">'
        '<A tag="00081155" vr="UI" keyword="ReferencedSOPInstanceUID">'
        f'<Value number="1">{image.sop_uid}</Value></A></Item></A></N>'
    )
    with web_server(lambda request: Reply(200, xml.encode(), "application/dicom+xml")) as (url, _):
        assert reason(url, image) == ""


def test_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    one, missing, other = outgoing(tmp_path, 3)
    missing.file.unlink()

    def answer(request: Request) -> Reply:
        return stored(one) if one.sop_uid.encode() in request.body else Reply(500)

    with web_server(answer) as (url, _):
        found = [answer.reason for answer in store(Server(url), [one, missing, other])]
    assert found[0] == ""
    assert found[1].startswith("1.dcm cannot be read")
    assert found[2].startswith(f"{url} answers 500")


def test_tls_with_certificates_on_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, others = signed(tmp_path / "ours"), signed(tmp_path / "others")
    (image,) = outgoing(tmp_path / "images")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(others.ca))
    trusted = Certificates(ours.ca, ours.certificate, ours.key)
    with web_server(lambda request: stored(image), ours.server(client_certificate=True)) as (url, asked):
        assert reason(url, image, tls=trusted) == ""
        assert "cannot be spoken to by TLS" in reason(url, image)
        assert "name PEM files" in reason(url, image, tls=Certificates(tmp_path / "none.pem"))
        assert len(asked) == 1


def test_a_password_in_the_url_is_not_shown() -> None:
    assert str(Server("http://me:secret@127.0.0.1:9/x/")) == "http://127.0.0.1:9/x"
    assert Server("http://me:secret@h/x/").shown("1.2", "3.4", "5") == "http://h/x/studies/1.2/series/3.4/instances/5"
