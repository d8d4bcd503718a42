"""Web servers of a few lines, on ports of 127.0.0.1, that answer as they are told."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """What came: method, path with its query, headers, body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What goes out; with `cut`, only so many bytes of a body that is promised whole."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/dicom+json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


def in_json(content: Any, status: int = 200, kind: str = "application/dicom+json") -> Reply:
    return Reply(status, json.dumps(content).encode(), kind)


@contextmanager
def web_server(
    answer: Callable[[Request], Reply], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[Request]]]:
    """A server; its URL, and what it was asked."""
    asked: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append(Request(self.command, self.path, dict(self.headers), body))
            reply = answer(asked[-1])
            self.send_response(reply.status)
            for name, value in ({"Content-Type": reply.kind} | dict(reply.headers)).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])

        do_GET = do_POST = _do  # noqa: N815 - the library's names

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/dicom-web", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
