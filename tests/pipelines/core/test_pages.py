from __future__ import annotations

from pathlib import Path

import delineate.pipelines
from delineate.pipelines.core import pages


def test_the_script_of_today_is_known() -> None:
    """Where it was changed, its new hash goes before the others: pages of earlier versions lie in runs."""
    script = Path(delineate.pipelines.__file__).parent.joinpath("templates", "sort.js").read_text(encoding="utf-8")
    assert pages.script_hash(script) == pages._KNOWN_SCRIPTS[0]
