"""``models/exports.json``: what each exported graph of a bundle is, and of which weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.sums import SUMS, check_sums, replacing_listed, sha256
from ..core.versions import versions

EXPORTS = "exports.json"


def name_export(models: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Note an exported graph; those of other weights are forgotten.

    Args:
        models: the bundle's folder of weights.
        name: of the file there.
        facts: what is known of it.
    """
    weights = sha256(models / "model.pt")
    made_with = {package: versions()[package] for package in ("delineate", "torch")}
    own = {"weights": weights, **facts, "made_with": made_with}
    known = {other: told for other, told in named_exports(models).items() if told.get("weights") == weights}
    with replacing_listed(models / EXPORTS) as temporary:
        told = json.dumps({"format": 1, "exports": known | {name: own}}, indent=1, sort_keys=True, allow_nan=False)
        temporary.write_text(told + "\n", encoding="utf-8")


def named_exports(models: Path) -> dict[str, dict[str, Any]]:
    """What ``exports.json`` says of the graphs in ``models/``; nothing where there is none that can be read."""
    try:
        told = json.loads((models / EXPORTS).read_text(encoding="utf-8"))["exports"]
        return {str(name): dict(facts) for name, facts in told.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def sound_export(models: Path, name: str, precision: str) -> dict[str, Any] | None:
    """What is said of a graph that may be used: it is listed, as it was, and of these weights; else ``None``.

    Args:
        models: the bundle's folder of weights.
        name: of the graph's file there.
        precision: ``float32`` or ``int8``.
    """
    told = named_exports(models).get(name, {})
    files = [name, name.replace(".xml", ".bin"), EXPORTS] if name.endswith(".xml") else [name, EXPORTS]
    there = all((models / file).is_file() for file in [SUMS, "model.pt", *files])
    if told.get("precision") != precision or not there or check_sums(models, files):
        return None
    return told if told.get("weights") == sha256(models / "model.pt") else None


def int8_export(models: Path, name: str) -> dict[str, Any] | None:
    """As `sound_export`, of an int8 graph."""
    return sound_export(models, name, "int8")
