"""What a run, and what a score was made with: versions, commit, data and bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.versions import commit, versions
from ..datasets.datalist import Datalist
from .gate import bundle_in_use


def provenance(dataset_dir: str | Path) -> dict[str, Any]:
    """Versions, commit, name and hash of the data and the bundle that runs, as records and scores carry them."""
    datalist = Datalist.read(dataset_dir)
    found = {"versions": versions(), "commit": commit(), "data_name": datalist.name, "data_hash": datalist.hash}
    return {**found, "bundle": bundle_in_use()}
