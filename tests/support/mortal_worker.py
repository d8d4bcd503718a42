"""A process of Ray's that is killed once."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from delineate.pipelines.inference.on_ray import _Worker


class Mortal(_Worker):
    """Killed when it has computed all of a job and given nothing back; its successors live."""

    def __call__(self, job: Mapping[str, Any]) -> dict[str, Any]:
        answer = super().__call__(job)
        mark = Path(self.bundle).parent / "killed"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
