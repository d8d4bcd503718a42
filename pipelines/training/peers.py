"""Further processes of this machine that train the same network."""

from __future__ import annotations

import logging
import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ..core.errors import ComponentError, DelineateError, counted, known_cause
from ..core.processes import Apart
from .runs import count_items

_PATIENCE = 10.0  # seconds in which a process that failed says why


@contextmanager
def with_peers(count: int, work: Callable[[], None]) -> Iterator[None]:
    """Begin the same work in as many processes as make ``count`` with this one, which does it in the block.

    Each finds the others as those do that torchrun starts: by environment variables. They end with the block.

    Args:
        count: processes in all.
        work: it can be pickled.

    Raises:
        DelineateError: one of them failed, and why.
    """
    if count == 1:
        yield
        return
    places = [_place(number, count, port) for port in [_free_port()] for number in range(count)]
    peers = [Apart(work, partial(_take_place, place)) for place in places[1:]]
    try:
        os.environ.update(places[0])
        yield
    except BaseException as error:
        reason = next(filter(None, (peer.wait(_PATIENCE) for peer in peers)), None) if _is_of_others(error) else None
        if reason:
            raise DelineateError(reason) from error
        raise
    else:
        if reason := next(filter(None, [peer.wait() for peer in peers]), None):
            raise DelineateError(reason)
    finally:
        for peer in peers:
            peer.stop()
        for name in places[0]:
            os.environ.pop(name)
        _leave()


def refuse_too_many(count: int, data: Path, fold: int | None) -> None:
    """See that each process has an image to validate.

    Raises:
        DelineateError: there are fewer than processes.
    """
    images = count_items(data).get("validation" if fold is None else str(fold), 0)
    if not 1 <= count <= max(images, 1):
        raise DelineateError(
            f"--processes is {count}, and there are {counted(images, 'validation image')}; take 1 to {max(images, 1)}"
        )


def _place(number: int, count: int, port: int) -> dict[str, str]:
    names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1"} | {name: str(value) for name, value in names.items()}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _take_place(place: Mapping[str, str]) -> None:
    os.environ.update(place)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all: the first process ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable(logging.ERROR)  # the first process tells
    warnings.simplefilter("ignore")


def _is_of_others(error: BaseException) -> bool:
    """Whether it may be that another process failed: its end of the connection closes, wherever this one is."""
    known = known_cause(error)
    return isinstance(error, Exception) and (known is None or isinstance(known, ComponentError))


def _leave() -> None:
    from .distributed import leave_processes

    leave_processes()
