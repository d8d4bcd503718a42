from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from node_parts import IDLE, config_of, done_job, facts_of, open_queue, take_in

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.health import Health, Meter
from delineate.pipelines.node.queue.queue import Queue

Node = tuple[NodeConfig, Queue, Meter, Health]


def opened(folder: Path, **keys: Any) -> Node:
    config = config_of(folder, **{"health": {"port": 0}, **keys})
    queue = open_queue(folder)
    meter = Meter(config, queue)
    health = Health(config, queue, meter)
    health.start()
    return config, queue, meter, health


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    found = opened(tmp_path)
    yield found
    found[3].stop()
    found[1].close()


def ask(health: Health, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", health.port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_health_tells_of_jobs_and_of_what_waits(node: Node) -> None:
    config, queue, _, health = node
    done_job(queue, config)
    take_in(queue, facts_of("1.7", "1.7.1"))
    status, content = ask(health, "/health")
    facts = json.loads(content)
    assert (status, facts["status"]) == (200, "ok")
    assert (facts["jobs"]["done"], facts["jobs"]["received"], facts["waiting_deliveries"]) == (1, 1, {"pacs": 1})
    assert facts["oldest_waiting_seconds"] > IDLE  # since 1970, when the image came
    assert facts["free_mib"] > 0
    assert facts["version"]


def test_what_is_not_sent_waits(node: Node) -> None:
    config, queue, _, health = node
    assert json.loads(ask(health, "/health")[1])["oldest_waiting_seconds"] == 0
    done_job(queue, config)
    assert json.loads(ask(health, "/health")[1])["oldest_waiting_seconds"] > IDLE
    queue.delivered(queue.due(IDLE)[0].id)
    assert json.loads(ask(health, "/health")[1])["oldest_waiting_seconds"] == 0


def test_low_disk_is_no_health(tmp_path: Path) -> None:
    _, queue, _, health = opened(tmp_path, limits={"free_mib": 2**40})
    status, content = ask(health, "/health")
    assert (status, json.loads(content)["status"]) == (503, "low disk")
    health.stop()
    queue.close()


def test_metrics_are_for_prometheus(node: Node) -> None:
    config, queue, meter, health = node
    done_job(queue, config)
    for event in ("image received", "sent", "not sent", "association accepted"):
        meter.count(event, {})
    meter.count("segmented", {"seconds": 3.0})
    status, content = ask(health, "/metrics")
    lines = content.decode().splitlines()
    assert status == 200
    assert 'delineate_jobs{state="done"} 1.0' in lines
    assert 'delineate_waiting_deliveries{destination="pacs"} 1.0' in lines
    assert "delineate_images_received_total 1.0" in lines
    assert "delineate_results_sent_total 1.0" in lines
    assert [line for line in lines if line.startswith("delineate_failures_total{") and line.endswith(" 1.0")] == [
        'delineate_failures_total{what="not sent"} 1.0'
    ]
    assert 'delineate_job_seconds_bucket{le="5.0"} 1.0' in lines
    (age,) = [float(line.split()[1]) for line in lines if line.startswith("delineate_queue_age_seconds ")]
    assert age > IDLE  # its result is not sent yet
    assert any(line.startswith("delineate_free_disk_bytes ") for line in lines)


@pytest.mark.parametrize(("path", "method"), [("/", "GET"), ("/health/../x", "GET"), ("/health", "POST")])
def test_nothing_else_answers(node: Node, path: str, method: str) -> None:
    assert ask(node[3], path, method)[0] in (404, 501)


def test_a_queue_that_cannot_be_read_is_no_health(node: Node) -> None:
    node[1].close()
    status, content = ask(node[3], "/health")
    assert (status, json.loads(content)) == (503, {"status": "ProgrammingError"})


def test_a_port_that_is_taken_is_named(node: Node) -> None:
    config, queue, meter, health = node
    taken = config.model_copy(update={"health": config.health.model_copy(update={"port": health.port})})
    with pytest.raises(DelineateError, match=rf"port {health.port} .*choose another health.port"):
        Health(taken, queue, meter)
