"""How the node is, for a monitor on the same machine: ``/health`` as JSON, ``/metrics`` for Prometheus."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..core.errors import DelineateError
from ..core.versions import own_version
from .configuration.config import NodeConfig
from .folders import Folders
from .queue.queue import Queue

_SILENT = 10.0  # seconds that whoever asks may say nothing
_FAILURES = ("image refused", "failed", "quarantined", "not sent", "given up")  # events of the audit
_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)


class Page(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    kind: str
    content: bytes


class Meter(Collector):
    """What Prometheus reads: the state of the queue, and counts of what the audit was told since the node started."""

    def __init__(self, config: NodeConfig, queue: Queue) -> None:
        self._config, self._queue = config, queue
        self.registry = CollectorRegistry()
        self._received = Counter("delineate_images_received", "Images acknowledged.", registry=self.registry)
        self._sent = Counter("delineate_results_sent", "Objects that a destination has.", registry=self.registry)
        self._failures = Counter("delineate_failures", "By what failed.", ["what"], registry=self.registry)
        for what in _FAILURES:
            self._failures.labels(what)  # which shows it, as 0
        self._seconds = Histogram(
            "delineate_job_seconds", "What a job took to be segmented.", buckets=_SECONDS, registry=self.registry
        )
        self.registry.register(self)

    def count(self, event: str, facts: Mapping[str, Any]) -> None:
        """Take note of what the audit was told."""
        if event == "image received":
            self._received.inc()
        elif event == "sent":
            self._sent.inc()
        elif event in _FAILURES:
            self._failures.labels(event).inc()
        elif event == "segmented":
            self._seconds.observe(facts["seconds"])

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        facts = facts_of(self._config, self._queue)
        jobs = GaugeMetricFamily("delineate_jobs", "Jobs in each state.", labels=["state"])
        for state, number in facts["jobs"].items():
            jobs.add_metric([state], number)
        yield jobs
        waiting = GaugeMetricFamily("delineate_waiting_deliveries", "Objects to be sent.", labels=["destination"])
        for destination, number in facts["waiting_deliveries"].items():
            waiting.add_metric([destination], number)
        yield waiting
        for name, help_, value in (
            ("delineate_queue_age_seconds", "Since the oldest image came that waits.", facts["oldest_waiting_seconds"]),
            ("delineate_free_disk_bytes", "Where the node keeps its files.", facts["free_mib"] * 2**20),
        ):
            yield GaugeMetricFamily(name, help_, value)


def facts_of(config: NodeConfig, queue: Queue) -> dict[str, Any]:
    """What ``/health`` says; nothing in it is of a patient."""
    free, oldest = Folders(config.folder).free_mib(), queue.oldest_waiting()
    return {
        "status": "ok" if free >= config.limits.free_mib else "low disk",
        "jobs": dict(queue.counts()),
        "waiting_deliveries": queue.waiting_deliveries(),
        "oldest_waiting_seconds": 0 if oldest is None else round(max(0.0, time.time() - oldest), 1),
        "free_mib": free,
        "version": own_version(),
    }


class Health:
    """Answers ``GET /health`` and ``GET /metrics``, and nothing else.

    Args:
        config: of the node, with the address and port.
        queue: of the node.
        meter: of the node.

    Attributes:
        port: that it listens on.

    Raises:
        DelineateError: the port is taken.
    """

    def __init__(self, config: NodeConfig, queue: Queue, meter: Meter) -> None:
        def health() -> Page:
            facts = facts_of(config, queue)
            status = HTTPStatus.OK if facts["status"] == "ok" else HTTPStatus.SERVICE_UNAVAILABLE
            return Page(status, "application/json", json.dumps(facts).encode())

        def metrics() -> Page:
            return Page(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(meter.registry))

        place = (config.health.address, config.health.port)
        try:
            self._server = ThreadingHTTPServer(place, _handler({"/health": health, "/metrics": metrics}))
        except OSError as error:
            reason = f"health: nothing can listen on {place[0]}, port {place[1]} ({error.strerror})"
            raise DelineateError(f"{reason}; choose another health.port, or end what listens there") from error
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="health", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End; the port is free afterwards."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


def _handler(pages: Mapping[str, Callable[[], Page]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _SILENT
        server_version, sys_version = "Delineate", ""

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                status, kind, content = page()
            except Exception as error:  # the queue cannot be read: whoever watches is to know
                reason = json.dumps({"status": type(error).__name__}).encode()
                status, kind, content = Page(HTTPStatus.SERVICE_UNAVAILABLE, "application/json", reason)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass  # what is asked is no event of the node's

    return Handler
