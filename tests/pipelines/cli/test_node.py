from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from node_parts import IDLE, config_of, done_job, facts_of, open_queue, put_result, ready_job, take_in
from typer.testing import CliRunner

from delineate.pipelines.cli import app, main
from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.core.files import hold, let_go
from delineate.pipelines.node import service
from delineate.pipelines.node.audit import Audit
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.queue.queue import Arrival, NewDelivery, Queue


def call(*words: object) -> str:
    result = CliRunner().invoke(app, ["node", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(text: str) -> dict[str, str]:
    """A table of what and value."""
    return dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    call("init", tmp_path)
    return tmp_path


@pytest.fixture
def queue(node: Path) -> Iterator[Queue]:
    queue = open_queue(node)
    yield queue
    queue.close()


@pytest.fixture
def config(node: Path) -> NodeConfig:
    return config_of(node)


def refused_file(queue: Queue, name: str = "") -> str:
    arrival = Arrival("a.dcm", "SCANNER", "", 1.0, name)
    (queue.database.parent / "quarantine" / "a.dcm").write_bytes(b"poison")
    queue.receive(arrival)
    return queue.reject(arrival, "no \x1b[31mDICOM", "quarantine/a.dcm", now=2.0).id


def test_init_writes_a_configuration_and_folders(node: Path) -> None:
    assert {path.name for path in node.iterdir()} == {
        *("node.yaml", "incoming", "series", "work", "results", "quarantine", "audit")
    }
    assert (node / "incoming").stat().st_mode & 0o077 == 0


def test_init_does_not_write_over_a_configuration(node: Path) -> None:
    (node / "node.yaml").write_text("mine")
    with pytest.raises(DelineateError, match="is there already"):
        call("init", node)
    assert (node / "node.yaml").read_text() == "mine"


def test_what_a_node_needs_is_named_where_it_is_missing(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    for words in (("init", node / "other"), ("run", node), ("status", node)):
        with pytest.raises(
            DelineateError, match=r'needs pynetdicom, not installed here; pip install .* -e ".*\[dicom\]"$'
        ):
            call(*words)


def test_run_refuses_what_cannot_be_used(node: Path) -> None:
    (node / "node.yaml").write_text("folder: .\ncallers: [{ae_title: A}]\nrules: [{name: a, bundle: chest_xry}]\n")
    with pytest.raises(DelineateError, match=r"node.yaml: rules\[0\].bundle: chest_xry is no folder; "):
        call("run", node)


def test_a_configuration_that_is_not_in_order_has_an_exit_code_of_its_own(
    node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (node / "node.yaml").write_text("folder: .\n")
    monkeypatch.setattr(sys, "argv", ["delineate", "node", "run", str(node)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2


def test_a_part_that_fails_has_the_exit_code_of_any_failure(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DelineateError("the node's sender ended")

    monkeypatch.setattr(service, "run", fail)
    monkeypatch.setattr(sys, "argv", ["delineate", "node", "run", str(node)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1


def test_check_says_that_a_configuration_is_in_order(node: Path) -> None:
    assert call("check", node) == "in order: 0 rules, 1 destination\n"


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ("folder: .\nprot: 1\nport: many\n", ["prot", "port"]),
        ("folder: .\nrules: [{name: a, bundle: none, send_to: x}, {name: a, bundle: none}]\n", ["rules", "rules[0]"]),
        ("folder: .\nwatch: [../nowhere]\nrules: [{name: a, bundle: none}]\n", ["watch[0]", "rules[0]"]),
        ("folder: .\ncallers: [\n", ["line 3, column 1"]),
    ],
)
def test_check_names_every_mistake(content: str, keys: list[str], node: Path) -> None:
    (node / "node.yaml").write_text(content)
    result = CliRunner().invoke(app, ["node", "check", str(node)])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == len(keys)
    for line, key in zip(lines, keys, strict=True):
        assert line.startswith(f"{node / 'node.yaml'}: {key}")


@pytest.mark.parametrize("mistake", ["prot: 1", "callers: [", "rules: many", "watch: [nowhere]"])
def test_a_mistake_in_the_configuration_blinds_nobody(mistake: str, node: Path, queue: Queue) -> None:
    job = take_in(queue, facts_of())
    (node / "node.yaml").write_text(f"folder: .\n{mistake}\n")
    for words in (("status", node), ("list", node), ("quarantine", node), ("show", job.id, "--node", node)):
        result = CliRunner().invoke(app, ["node", *map(str, words)], catch_exceptions=False)
        assert result.exit_code == 0
        assert len(result.stderr.splitlines()) == (0 if mistake.startswith("watch") else 1)
    assert call("complete", "1.2", "--node", node) == "complete: 1 series\n"


def test_without_a_folder_the_mistake_is_an_error(node: Path, queue: Queue) -> None:
    (node / "node.yaml").write_text("prot: 1\n")
    with pytest.raises(DelineateError, match="prot: there is no such key"):
        call("status", node)


def test_nothing_is_shown_of_a_node_that_never_ran(node: Path) -> None:
    for words in (("status", node), ("list", node), ("show", "abc", "--node", node)):
        with pytest.raises(DelineateError, match="no node has run here yet"):
            call(*words)


def test_status_counts_jobs_and_what_waits(node: Path, queue: Queue, config: NodeConfig) -> None:
    assert cells(call("status", node))["oldest waiting"] == "nothing waits"
    done_job(queue, config)
    take_in(queue, facts_of("1.2"))
    queue.receive(Arrival("a.dcm", "A", "", 1.0))
    found = cells(call("status", node / "node.yaml"))
    assert (found["node runs"], found["done"], found["received"], found["ready"]) == ("no", "1", "1", "0")
    assert found["files not read yet"] == "1"
    assert found["objects to send to pacs"].startswith("1, since 1970-01-01 ")
    assert found["objects to send to pacs"].endswith(": not tried yet")
    assert found["oldest waiting"].startswith("since 1970-01-01 ")
    assert found["free disk"].endswith("MiB (needed: 2,048)")


def test_what_a_dead_archive_holds_up_is_shown_with_its_reason(node: Path, queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    queue.not_delivered(queue.due(IDLE)[0].id, "nothing listens at 127.0.0.1", 60)
    found = cells(call("status", node))
    assert found["oldest waiting"].startswith("since 1970-01-01 ")
    assert found["objects to send to pacs"].endswith(": nothing listens at 127.0.0.1")
    reason = "waits for pacs: nothing listens at 127.0.0.1"
    assert call("list", node).splitlines()[1].endswith(f"\t{reason}")
    assert cells(call("show", job.id, "--node", node))["reason"] == reason


def test_status_says_whether_a_node_runs(node: Path, queue: Queue) -> None:
    hold(node / "node.lock")
    assert cells(call("status", node))["node runs"] == "yes"
    let_go(node / "node.lock")
    assert cells(call("status", node))["node runs"] == "no"


def test_jobs_are_listed_by_state(node: Path, queue: Queue, config: NodeConfig) -> None:
    done, received = done_job(queue, config), take_in(queue, facts_of("1.2"), when=50)
    assert [line.split("\t")[:2] for line in call("list", node).splitlines()] == [
        ["id", "state"],
        [received.id[:12], "received"],
        [done.id[:12], "done"],
    ]
    assert len(call("list", node, "--state", "done").splitlines()) == 2
    assert len(call("list", node, "--limit", "1").splitlines()) == 2


def test_the_node_may_be_named_by_the_environment(node: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    job = take_in(queue, facts_of())
    monkeypatch.setenv("DELINEATE_NODE", str(node))
    assert job.id[:12] in call("list")
    assert job.id in call("show", job.id[:4])


def test_the_node_of_the_folder_is_meant_where_none_is_named(
    node: Path, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(node)
    assert "node runs\tno" in call("status")


def test_a_job_is_shown_with_all_that_belongs_to_it(node: Path, queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    queue.not_delivered(queue.due(IDLE)[0].id, "refused: 0xA700", 60)
    Audit(node / "audit").write("done", job=job.id, seconds=2.5)
    text = call("show", job.id[:8], "--node", node)
    found = cells(text)
    assert (found["state"], found["rule"], found["study"], found["series"]) == ("done", "ct", "1.2", "1.2.3")
    assert found["1.2.3.1"].startswith("series/")
    assert "pacs\tpending\t1\tnow\t" in text
    assert "refused: 0xA700" in text
    assert "\tdone\tseconds 2.5" in text


def test_only_the_first_images_of_many_are_shown(node: Path, queue: Queue) -> None:
    jobs = {take_in(queue, facts_of(sop_uid=f"9.{number}")).id for number in range(12)}
    text = call("show", *jobs, "--node", node)
    assert text.count("series/") == 10
    assert "and 2 more" in text


def test_the_first_deliveries_of_many_are_shown_and_nothing_empty(node: Path, queue: Queue, config: NodeConfig) -> None:
    job = ready_job(queue, config)
    queue.next_job(IDLE)
    objects = [NewDelivery("pacs", f"9.{number}", "1.2", f"results/{number}.dcm") for number in range(12)]
    queue.done(job.id, "model", objects, now=IDLE)
    for delivery in queue.due(IDLE)[:11]:
        queue.delivered(delivery.id)
    Audit(node / "audit").write("segmented", job=job.id, seconds=2.5, reason="")
    text = call("show", job.id, "--node", node)
    assert text.count("results/") == 10
    assert "results/11.dcm" in text  # the one that is not sent
    assert "and 2 more" in text
    assert "reason " not in text.split("segmented")[1]
    queue.delivered(queue.due(IDLE)[0].id)
    found = cells(call("show", job.id, "--node", node))
    assert "reason" not in found
    assert datetime.fromisoformat(found["first image"]).tzinfo is not None


def test_a_job_that_is_not_there_is_said_so(node: Path, queue: Queue) -> None:
    with pytest.raises(DelineateError, match="no job has an id that begins with 'xyz'"):
        call("show", "xyz", "--node", node)


def test_retry_does_a_job_again_and_writes_it_down(node: Path, queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    queue.delivered(queue.due(IDLE)[0].id)
    assert call("retry", job.id[:8], "--node", node) == f"job {job.id[:12]}: ready\n"
    assert queue.job(job.id).state == "ready"
    (event,) = [json.loads(line) for file in (node / "audit").iterdir() for line in file.read_text().splitlines()]
    assert (event["event"], event["job"]) == ("retried by hand", job.id)


def test_retry_sends_again_what_was_not_sent(node: Path, queue: Queue, config: NodeConfig) -> None:
    job = done_job(queue, config)
    put_result(queue)
    queue.not_delivered(queue.due(IDLE)[0].id, "refused", 1e9, give_up=True)
    assert call("retry", job.id, "--node", node).endswith("its result will be sent again\n")
    assert len(queue.due(IDLE)) == 1


def test_retry_lets_a_file_be_read_again(node: Path, queue: Queue) -> None:
    id_ = refused_file(queue)
    assert "will be read again" in call("retry", id_, "--node", node)
    assert [(each.file, each.peer) for each in queue.arrivals()] == [("a.dcm", "SCANNER")]
    assert (node / "incoming" / "a.dcm").read_bytes() == b"poison"
    assert queue.jobs() == []


def test_quarantine_lists_what_and_why_without_what_controls_a_terminal(
    node: Path, queue: Queue, config: NodeConfig
) -> None:
    ready_job(queue, config)
    id_ = refused_file(queue)
    text = call("quarantine", node)
    assert text.splitlines()[1].startswith(f"{id_[:12]}\t1\tSCANNER\t\t1970-01-01")
    assert text.splitlines()[1].endswith(r"no \x1b[31mDICOM")
    assert len(text.splitlines()) == 2


def test_a_quarantined_file_of_a_watched_folder_is_named(node: Path, queue: Queue) -> None:
    id_ = refused_file(queue, r"knee\x1b.dcm")
    assert "\tknee\\x1b.dcm\t" in call("quarantine", node)
    assert cells(call("show", id_, "--node", node))[""] == r"quarantine/a.dcm	knee\x1b.dcm"


def test_complete_lets_a_study_wait_no_longer(node: Path, queue: Queue, config: NodeConfig) -> None:
    take_in(queue, facts_of(), when=1)
    assert call("complete", "1.2", "--node", node) == "complete: 1 series\n"
    assert len(queue.settle(config)) == 1
    with pytest.raises(DelineateError, match=r"no series of study 1\.2 waits for images"):
        call("complete", "1.2", "--node", node)


def test_a_queue_that_is_no_database_is_one_line(node: Path) -> None:
    (node / "queue.sqlite").write_bytes(b"nothing of the kind" * 99)
    with pytest.raises(DelineateError, match="cannot be used as a queue") as error:
        call("status", node)
    assert len(str(error.value).splitlines()) == 1
