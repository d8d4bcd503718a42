from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from threading import Thread

import pytest

from delineate.pipelines.node.audit import Audit, events


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]


def test_an_event_is_a_line_with_its_time_and_facts(tmp_path: Path) -> None:
    Audit(tmp_path).write("done", job="abc", seconds=1.23456, images=3, rule=None, to=["pacs"], sent=True)
    (line,) = lines(tmp_path)
    when = str(line.pop("when"))
    assert line == {"event": "done", "job": "abc", "seconds": 1.235, "images": 3, "to": ["pacs"], "sent": True}
    assert when.endswith("+00:00")
    assert [file.name for file in tmp_path.iterdir()] == [f"{when[:10]}.jsonl"]


@pytest.mark.parametrize("is_on", [False, True])
def test_the_patient_is_named_only_where_that_is_switched_on(tmp_path: Path, is_on: bool) -> None:
    Audit(tmp_path, is_on).write("received", patient_name="Doe^Jane", patient="Doe^Jane")
    assert ("Doe" in next(tmp_path.iterdir()).read_text()) is is_on


def test_what_strangers_wrote_stays_on_its_line_and_is_cut(tmp_path: Path) -> None:
    Audit(tmp_path).write("received", peer="a\nb\x1b[31m\u2028" + "x" * 10_000)
    text = next(tmp_path.iterdir()).read_text()
    assert text.count("\n") == 1
    assert len(text) < 700
    assert text.isascii()
    assert "\x1b" not in str(lines(tmp_path)[0]["peer"])


def test_what_is_no_number_is_still_json(tmp_path: Path) -> None:
    Audit(tmp_path).write("done", seconds=float("nan"), area=float("inf"))
    assert (lines(tmp_path)[0]["seconds"], lines(tmp_path)[0]["area"]) == ("nan", "inf")


def test_several_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    threads = [Thread(target=lambda: [audit.write("x", text="y" * 400) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path)) == 200


def test_a_disk_that_takes_nothing_does_not_end_the_node(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        Audit(tmp_path / "none").write("received")
    assert "received could not be written down" in caplog.text


def test_the_events_of_a_job_are_found(tmp_path: Path) -> None:
    audit = Audit(tmp_path)
    audit.write("ready", job="abc")
    audit.write("ready", job="other", reason="as job abc")
    audit.write("done", job="abc")
    (tmp_path / "2020-01-01.jsonl").write_text('{"event": "first", "job": "abc"}\n{"event": "half", "job": "abc"\n')
    assert [event["event"] for event in events(tmp_path, "abc")] == ["first", "ready", "done"]


def test_half_a_line_that_a_full_disk_takes_is_told_and_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, write = Audit(tmp_path), os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
        audit.write("received", job="abc")
    assert "received could not be written down (No space left on device)" in caplog.text
    audit.write("done", job="abc")
    assert [event["event"] for event in events(tmp_path, "abc")] == ["done"]
