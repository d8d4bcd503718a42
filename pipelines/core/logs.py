"""Loggers of libraries: what they say of an error is said by our own line."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LIBRARIES = ("monai", "ignite")


def library_loggers(packages: Sequence[str] = LIBRARIES) -> list[logging.Logger]:
    """The loggers that packages have by now, one of each package's own name included."""
    for package in packages:
        logging.getLogger(package)  # what is made later inherits its level
    return [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in packages
    ]


@contextmanager
def quiet_libraries(packages: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Silence packages, e.g. ignite, which repeats each exception; not where the root logger lets INFO pass."""
    loggers = [] if logging.getLogger().level <= logging.INFO else library_loggers(packages)
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
