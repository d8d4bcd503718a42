"""``delineate bundle``: list, make and verify bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..bundles import choices, find_bundle, new_bundle, shipped_bundles
from ..errors import printable
from .console import show_table

app = typer.Typer(help="List, make and verify bundles.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """Shipped bundles, and what bundles can be made of."""
    rows = []
    for name, folder in shipped_bundles().items():
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        rows.append(
            [
                name,
                metadata["description"],
                "yes" if (folder / "models" / "model.pt").is_file() else "no, train it",
            ]
        )
    show_table("bundles", ["name", "what it does", "weights"], rows)
    for kind in ("tasks", "networks", "losses"):
        print(f"{kind}: {', '.join(choices(kind))}")


@app.command()
def new(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    task: Annotated[str, typer.Option(help="What the bundle is for; 'delineate bundle list' names the tasks.")],
    network: Annotated[str, typer.Option(help="See 'delineate networks'.")] = "ultra_light_unet",
    loss: Annotated[str, typer.Option(help="bce, dice or dice_bce.")] = "dice_bce",
) -> None:
    """Make a self-contained bundle, without weights, for your own data."""
    print(f"written: {new_bundle(out, task, network, loss)}")


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(help="A bundle's or run's folder, or a shipped bundle's name.")],
) -> None:
    """Check a bundle without running it: no code, allowed targets, hashed weights."""
    from ..verify import verify_bundle

    folder = find_bundle(bundle) if not Path(bundle).is_dir() else Path(bundle)
    findings = verify_bundle(folder)
    for finding in findings:
        print(finding)
    print(f"{printable(folder)}: {f'{len(findings)} finding(s)' if findings else 'passes'}")
    if findings:
        raise typer.Exit(1)
