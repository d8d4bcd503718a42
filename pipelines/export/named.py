"""``models/exports.json``: what each exported graph of a bundle is, and of which weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.sums import replacing_listed, sha256
from ..core.versions import versions
from ..inference.backends.graphs import EXPORTS, named_exports


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
