"""``delineate networks`` and ``delineate info``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from .console import show_table
from .options import Quiet

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def networks(as_json: AsJson = False, quiet: Quiet = False) -> None:
    """List the networks: their parameters, multiply-accumulates (3 channels in, 1 out), image sizes and references."""
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
    import psutil
    import torch

    from ...networks import list_networks
    from ..bundling.bundles import shipped_bundles
    from ..core.versions import commit, versions
    from ..inference.inferer import fastest_precision

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype, reason = fastest_precision(device)
    facts = {
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
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    show_table("delineate", ["fact", "value"], [row for fact in facts.items() for row in _rows(*fact)])


def _rows(name: str, value: object) -> list[list[object]]:
    """One row, or one for each entry of a dictionary: ``version: torch``."""
    if isinstance(value, dict):
        return [[f"{name.removesuffix('s')}: {key}", each] for key, each in value.items()]
    return [[name, ", ".join(value) if isinstance(value, list) else value]]
