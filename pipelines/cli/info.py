"""``delineate networks`` and ``delineate info``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ...installation import has_torch
from ..core.cores import compute_threads
from ..core.versions import commit, version_of, versions
from .console import show_table
from .options import Quiet

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def networks(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the networks: parameters and multiply-accumulates, the smallest side of an image, and the reference.

    MACs are of one image of 3 channels, with 1 structure out; a side has the smallest number of pixels plus a
    multiple of the divisor.
    """
    from ...networks import list_networks, network_facts

    facts = [network_facts(name) for name in list_networks()]
    if as_json:
        print(json.dumps([asdict(each) for each in facts], indent=2))
        return
    columns = ["name", "parameters", "MACs", "smallest", "divisor", "DOI"]
    rows = [
        [
            each.name,
            f"{each.parameters:,}",
            f"{each.macs / 1e9:.2f} G at {each.side}",
            each.smallest_size,
            "one size" if each.divisor is None else each.divisor,
            each.reference.split("https://doi.org/")[-1],
        ]
        for each in facts
    ]
    show_table("networks; a side has the smallest number of pixels plus a multiple of the divisor", columns, rows)


def info(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Show versions, the machine, the precision it computes in, networks and bundles."""
    facts = _facts() if has_torch() else _facts_of_runtime()
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    show_table("delineate", ["fact", "value"], [row for fact in facts.items() for row in _rows(*fact)])


def _facts() -> dict[str, Any]:
    import psutil
    import torch

    from ...networks import list_networks
    from ..bundling.bundles import shipped_bundles
    from ..inference.inferer import fastest_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype, reason = fastest_precision(device)
    return {
        "versions": versions(),
        "commit": commit(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "free_memory_gb": round(psutil.virtual_memory().available / 1e9, 1),
        "precision": str(dtype).removeprefix("torch."),
        "precision_reason": reason,
        "networks": list_networks(),
        "bundles": {name: str(folder) for name, folder in shipped_bundles().items()},
    }


def _facts_of_runtime() -> dict[str, Any]:
    """What there is to say where neither torch nor psutil is installed."""
    return {
        "installation": "the runtime without torch, which segments with exported bundles",
        "versions": versions() | {name: version_of(name) for name in ("onnxruntime", "openvino")},
        "commit": commit(),
        "device": "cpu",
        "threads": compute_threads(),
        "memory_gb": _memory("SC_PHYS_PAGES"),
        "free_memory_gb": _memory("SC_AVPHYS_PAGES"),
        "precision": "float32",
        "precision_reason": "exported graphs are computed in it",
    }


def _memory(pages: str) -> float | None:
    try:
        return round(os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    except (AttributeError, OSError, ValueError):  # not every system says it
        return None


def _rows(name: str, value: object) -> list[list[object]]:
    """One row, or one for each entry of a dictionary: ``version: torch``."""
    if isinstance(value, dict):
        return [[f"{name.removesuffix('s')}: {key}", each] for key, each in value.items()]
    return [[name, ", ".join(value) if isinstance(value, list) else value]]
