from __future__ import annotations

import logging

import pytest

from delineate.pipelines.core.logs import quiet_libraries

LIBRARY = ("talkative",)


def test_libraries_are_silent_inside_and_speak_again_outside(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("talkative.engine")
    with caplog.at_level(logging.WARNING):
        with quiet_libraries(LIBRARY):
            logger.error("inside")
            logging.getLogger("talkative.made.late").error("inside")
        logger.error("outside")
    assert caplog.messages == ["outside"]


def test_libraries_speak_where_information_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), quiet_libraries(LIBRARY):
        logging.getLogger("talkative.engine").error("wanted")
    assert caplog.messages == ["wanted"]
