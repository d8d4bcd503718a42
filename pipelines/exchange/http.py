"""How a DICOMweb server is spoken to: tokens, headers, certificates; bounds on what it answers; its errors in words."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from ..core.errors import DelineateError, printable
from . import Certificates, ExchangeError

LONGEST = 64
"""Characters of what a stranger wrote."""
for _library in ("dicomweb_client", "retrying", "urllib3"):  # what matters of it is in our reasons
    logging.getLogger(_library).setLevel(logging.CRITICAL)
_MOST_JSON = 2**26  # bytes of an answer that is no image
_REMEDIES = {
    400: "look into its log",
    401: "name a token that it takes",
    403: "its token or account may not do this",
    404: "check the URL, which ends in e.g. /dicom-web, and the UIDs",
    405: "check the URL, which ends in e.g. /dicom-web",
    406: "it does not give out application/dicom",
    407: "the proxy before it wants a password",
    413: "raise what it, or the proxy before it, lets through",
    415: "it does not take application/dicom",
    429: "ask it less often",
    507: "make room there",
}


@dataclass(frozen=True)
class Server:
    """A DICOMweb server.

    Attributes:
        url: of its services, e.g. ``https://pacs.example/dicom-web``, with a slash at its end or without.
        token_file: holds a bearer token; read anew for each call, because tokens are renewed.
        headers: that it is sent in addition.
        tls: certificates in place of the system's.
        connect_seconds: in which a connection must be there.
        answer_seconds: in which it must begin to answer; and between two pieces of an answer.
        transfer_seconds: in which an answer must be complete.
        most_bytes: of one instance.
        most_instances: of one series.
        most_series_bytes: of one series.
    """

    url: str
    token_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tls: Certificates | None = None
    connect_seconds: float = 10
    answer_seconds: float = 60
    transfer_seconds: float = 3600
    most_bytes: int = 2**31
    most_instances: int = 20_000
    most_series_bytes: int = 2**34

    @property
    def timeout(self) -> tuple[float, float]:
        """As requests has it."""
        return self.connect_seconds, self.answer_seconds

    def endpoint(self, study: str = "", series: str = "", instance: str = "") -> str:
        """The URL of the services, or of a study, series or instance."""
        below = (("studies", study), ("series", series), ("instances", instance))
        return self.url.rstrip("/") + "".join(f"/{level}/{uid}" for level, uid in below if uid)

    def shown(self, study: str = "", series: str = "", instance: str = "") -> str:
        """The same as it is printed and written down: without name and password."""
        parts = urlsplit(self.endpoint(study, series, instance))
        return printable(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))

    def __str__(self) -> str:
        return self.shown()


@contextmanager
def opened(server: Server, most_bytes: int = _MOST_JSON) -> Iterator[requests.Session]:
    """A session with a server.

    Args:
        server: that is spoken to.
        most_bytes: of one answer.

    Raises:
        ExchangeError: its URL is none; its token, or a file of its certificates, cannot be read.
    """
    parts = urlsplit(server.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ExchangeError(
            f"{printable(server.url)[:200]} is no URL of DICOMweb; name e.g. https://pacs.example/dicom-web"
        )
    files = (server.tls.ca, server.tls.certificate, server.tls.key) if server.tls else ()
    if missing := [printable(one) for one in files if one and not one.is_file()]:
        raise ExchangeError(f"{', '.join(missing)}: cannot be used for TLS (no such file); name PEM files")
    with requests.Session() as session:
        session.headers.update({"Accept": "application/dicom+json", "Accept-Encoding": "identity", **server.headers})
        if server.token_file:
            session.auth = _Bearer(_read_token(server.token_file))
        session.mount(f"{parts.scheme}://", _Careful(server, most_bytes))
        yield session


@contextmanager
def asking(server: Server) -> Iterator[None]:
    """What goes wrong in the block is one line about the server.

    Raises:
        ExchangeError: something did.
    """
    try:
        yield
    except DelineateError:
        raise
    except requests.HTTPError as error:
        status, said = (error.response.status_code, error.response.reason) if error.response is not None else (0, "")
        remedy = _REMEDIES.get(status, "look into its log" if status >= 500 else "check the URL and the UIDs")
        reason = printable(said or "")[:LONGEST]
        raise ExchangeError(f"{server} answers {f'{status} {reason}'.strip()}; {remedy}") from error
    except requests.exceptions.SSLError as error:
        raise ExchangeError(f"{server} cannot be spoken to by TLS ({_cause(error)}); check the certificates") from error
    except requests.ConnectTimeout as error:
        within = f"within {server.connect_seconds:g} s"
        raise ExchangeError(
            f"{server} does not answer {within}; is it on, and does a firewall let us through?"
        ) from error
    except requests.Timeout as error:
        raise ExchangeError(f"{server} says nothing for {server.answer_seconds:g} s; look into its log") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise ExchangeError(f"{server} broke off in the middle of its answer; ask it again") from error
    except requests.ConnectionError as error:
        raise ExchangeError(
            f"{server} cannot be reached ({_cause(error)}); is it running, and is the URL right?"
        ) from error
    except (requests.RequestException, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise ExchangeError(f"{server} answers what is no DICOMweb; check the URL") from error
    except Exception as error:  # ElementTree's, pydicom's: of what a stranger sent
        raise ExchangeError(f"{server} answers what cannot be understood; look into its log") from error


class _Bearer(AuthBase):
    """A token, which a password in ``.netrc`` does not take the place of."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Careful(HTTPAdapter):
    """Uses our certificates, whatever the environment says; bounds an answer before anything of it is read."""

    def __init__(self, server: Server, most_bytes: int) -> None:
        super().__init__()
        self._server, self._most = server, most_bytes

    def send(self, request: requests.PreparedRequest, *args: Any, **how: Any) -> requests.Response:
        """Send a request.

        Raises:
            ExchangeError: the server sends us elsewhere, or packs its answer, which was not asked for.
        """
        request.headers.pop("Host", None)  # dicomweb-client leaves the port out; without it, http.client adds both
        if files := self._server.tls:
            how["verify"] = str(files.ca) if files.ca else True
            how["cert"] = tuple(str(one) for one in (files.certificate, files.key) if one) or None
        answer = super().send(request, *args, **how)
        problem = ""
        if answer.is_redirect:  # to follow would take our headers and token elsewhere
            problem = f"sends us elsewhere (status {answer.status_code}); name the URL that it sends to"
        elif answer.headers.get("Content-Encoding", "identity") != "identity":
            problem = "packs its answer though asked not to; switch that off there"
        if problem:
            answer.close()
            raise ExchangeError(f"{self._server} {problem}")
        kind = answer.headers.get("Content-Type", "")
        if "json" in kind or "xml" in kind:
            answer.headers["Content-Type"] = kind.partition(";")[0].strip()  # dicomweb-client knows no parameters
        answer.raw = _Bounded(answer.raw, self._server, self._most)
        return answer


class _Bounded:
    """The body of an answer, of so many bytes, in so many seconds, however slowly it drips."""

    def __init__(self, raw: Any, server: Server, most: int) -> None:
        self._raw, self._server, self._most = raw, server, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *args: Any, **how: Any) -> Iterator[bytes]:
        """As urllib3 has it.

        Raises:
            ExchangeError: it is larger, or takes longer.
        """
        timer, left = Timer(self._server.transfer_seconds, self._raw.shutdown), self._most
        timer.daemon = True
        timer.start()
        try:
            for piece in self._raw.stream(*args, **how):
                left -= len(piece)
                if left < 0:
                    raise ExchangeError(f"{self._server} answers with more than {self._most} bytes; that is not read")
                yield piece
        finally:
            timer.cancel()


def _read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        ExchangeError: there is none.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ExchangeError(f"{printable(path)}: the token cannot be read; name a file that holds it") from error
    if not token or not token.isprintable() or " " in token:
        raise ExchangeError(f"{printable(path)} holds no token; write it there, as one word")
    return token


def _cause(error: BaseException) -> str:
    """The shortest that is said of a failed connection: the system's words."""
    chain: list[Any] = [error]
    while chain:
        one = chain.pop()
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return printable(one.strerror)[:LONGEST]
        chain += [
            each
            for each in (getattr(one, "reason", None), one.__cause__, one.__context__)
            if isinstance(each, Exception)
        ]
        chain += [each for each in one.args if isinstance(each, Exception)]
    return "it closed the connection"
