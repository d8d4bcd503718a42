"""``delineate networks`` and ``delineate info``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .console import show_table


def networks() -> None:
    """The networks there are."""
    from ...networks import create_network, describe_network, list_networks

    rows = []
    for name in list_networks():
        parameters = sum(p.numel() for p in create_network(name, in_channels=3, out_channels=1).parameters())
        rows.append([name, f"{parameters:,}", describe_network(name)])
    show_table("networks", ["name", "parameters (3 in, 1 out)", "what it is"], rows)


def info(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Versions, machine and what it computes in."""
    import psutil
    import torch

    from ...networks import list_networks
    from ..bundles import shipped_bundles
    from ..inferers import fastest_precision
    from ..versions import commit, versions

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
    show_table("delineate", ["", ""], [[name, value] for name, value in facts.items()])
