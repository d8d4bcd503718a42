from __future__ import annotations

import pytest

from delineate.pipelines.node.journal import Journal


def sending(event: str, destination: str = "pacs", reason: str = "it is down") -> tuple[str, dict[str, object]]:
    return event, {"destination": destination, "job": "9c6e0449abcdef", "result": "1.2", "reason": reason}


def test_the_first_failure_of_a_destination_and_its_recovery_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    for event in ("sent", "not sent", "not sent", "sent", "sent", "not sent"):
        journal.note(*sending(event))
    failed = "not sent to pacs: it is down; it is tried again"
    assert caplog.messages == [failed, "objects are sent to pacs again", failed]


def test_destinations_fail_each_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal()
    for event, destination in (("not sent", "a"), ("not sent", "b"), ("sent", "a"), ("not sent", "b")):
        journal.note(*sending(event, destination))
    assert [message.split(":")[0] for message in caplog.messages] == [
        "not sent to a",
        "not sent to b",
        "objects are sent to a again",
    ]


@pytest.mark.parametrize(
    ("event", "facts", "line"),
    [
        ("quarantined", {}, "quarantined: job 9c6e0449abcd: bad"),
        ("failed", {"state": "quarantined"}, "quarantined: job 9c6e0449abcd: bad"),
        ("image quarantined", {"file": "a.dcm"}, "quarantined: file a.dcm of A 10.0.0.1, job 9c6e0449abcd: bad"),
        ("association refused", {}, "refused: A 10.0.0.1: bad"),
        ("image refused", {}, "image of A 10.0.0.1 refused: bad"),
    ],
)
def test_trouble_is_a_line(event: str, facts: dict[str, str], line: str, caplog: pytest.LogCaptureFixture) -> None:
    Journal().note(event, {"peer": "A 10.0.0.1", "job": "9c6e0449abcdef", "reason": "bad", **facts})
    assert caplog.messages == [line]


@pytest.mark.parametrize("event", ["image received", "segmented", "failed", "association accepted"])
def test_what_goes_well_or_is_tried_again_is_not_logged(event: str, caplog: pytest.LogCaptureFixture) -> None:
    Journal().note(event, {"job": "a", "state": "ready", "reason": "bad"})
    assert caplog.messages == []


def test_what_strangers_wrote_stays_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    Journal().note("association refused", {"peer": "A\nB", "reason": "\x1b[31m" + "x" * 999})
    (message,) = caplog.messages
    assert message.startswith(r"refused: A\nB: \x1b[31mx")
    assert len(message) == 400
