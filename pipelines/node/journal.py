"""The trouble that whoever runs the node is to see at once: a line an event on standard error, no matter who asks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from ..core.errors import printable

logger = logging.getLogger(__name__)
_LONGEST = 400  # characters of a line
_LINES = {
    "association refused": "refused: {peer}: {reason}",
    "image refused": "image of {peer} refused: {reason}",
    "image quarantined": "quarantined: file {file} of {peer}, job {job:.12}: {reason}",
    "quarantined": "quarantined: job {job:.12}: {reason}",
    "not sent": "not sent to {destination}: {reason}; it is tried again",
    "given up": "given up: job {job:.12} is not sent to {destination}: {reason}",
    "intake waits": "nothing can be taken in: {reason}",
    "low disk": "low disk: {free_mib} MiB are free, {needed_mib} are needed; nothing is received until there is room",
    "room again": "room again: {free_mib} MiB are free; images are received",
}


class Journal:
    """Logs what the audit is told of trouble and of its end; nothing in a line is of a patient."""

    def __init__(self) -> None:
        self._failing: set[tuple[str, str]] = set()
        self._turn = threading.Lock()

    def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """Log an event, where it is trouble; of a destination the first failure, and that it takes objects again."""
        name = str(facts.get("destination", ""))
        if event == "sent":
            with self._turn:
                ended, self._failing = self._failing, {each for each in self._failing if each[0] != name}
                has_failed = ended != self._failing
            if has_failed:
                logger.warning(f"objects are sent to {printable(name)} again")
        elif (line := self._line(event, facts)) and self._is_news(event, name):
            logger.warning(printable(line)[:_LONGEST])

    def _is_news(self, event: str, destination: str) -> bool:
        with self._turn:
            is_known = (destination, event) in self._failing
            if destination:
                self._failing.add((destination, event))
        return not is_known

    def _line(self, event: str, facts: Mapping[str, Any]) -> str:
        template = _LINES.get("quarantined" if facts.get("state") == "quarantined" else event)
        return template.format_map(facts) if template else ""
