"""A node in a process of its own, as ``delineate node run`` starts it, which may be killed and started again."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from processes import DELINEATE, environment
from ruamel.yaml import YAML

_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy is between us and 127.0.0.1


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class NodeProcess:
    """A node that listens at 127.0.0.1.

    Attributes:
        folder: for its configuration, its files and its log.
        settings: of its configuration: rules, destinations, ...
        threads: that torch may use; ``None``: as many as it likes.
    """

    folder: Path
    settings: dict[str, Any]
    threads: int | None = 1
    port: int = field(default_factory=free_port)
    health: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it may not listen yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = {"folder": str(self.folder / "node"), "address": "127.0.0.1", "port": self.port}
        content = {**place, "callers": [{"ae_title": "*"}], "health": {"port": self.health}, **self.settings}
        with (self.folder / "node.yaml").open("w") as file:
            YAML().dump(content, file)
        environ = environment()
        environ.pop("OMP_NUM_THREADS")
        environ |= {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        command = [str(DELINEATE), "node", "run", str(self.folder / "node.yaml")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)

    def wait(self, seconds: float = 60) -> None:
        """Until it answers."""
        end = time.monotonic() + seconds
        while True:
            assert self.process
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            try:
                self.ask()
            except OSError:
                time.sleep(0.02)
            else:
                return

    def ask(self) -> dict[str, Any]:
        """What its ``/health`` answers."""
        with _LOCAL.open(f"http://127.0.0.1:{self.health}/health", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def end(self, how: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal, and wait for the end; the exit code."""
        assert self.process
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def memory(self) -> tuple[int, int]:
        """Bytes that it uses itself, and that the processes use that it started."""
        assert self.process
        here = psutil.Process(self.process.pid)
        others = []
        for child in here.children(recursive=True):
            try:
                others.append(child.memory_info().rss)
            except psutil.Error:
                continue
        return here.memory_info().rss, sum(others)

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text(errors="replace")
