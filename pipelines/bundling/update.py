"""Bundles of earlier versions: what has another name now is renamed, settings that are new are added."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..core.errors import DelineateError
from ..core.files import write_atomically
from .bundles import change_workflow
from .settings import WORKFLOWS, workflow_config
from .verify.targets import own_targets

_INFERER = "delineate.pipelines.inference.PrecisionInferer"
_WRITERS = ("delineate.pipelines.inference.MaskWriter", "delineate.pipelines.evaluation.ScoreWriter")
_NAME = re.compile(r"\bdelineate\.(?:networks|pipelines)(?:\.\w+)+")


def update_bundle(folder: Path) -> list[str]:
    """Rename what a bundle's workflows name of Delineate and has moved since, and add ``tta``, which changes no mask.

    Nothing else in them changes.

    Args:
        folder: of a bundle or run.

    Returns:
        what was changed, a line each; nothing where all is in order.

    Raises:
        DelineateError: it is no bundle, or cannot be written.
    """
    public = {name.rpartition(".")[2]: name for name in own_targets()}
    renamed: dict[str, str] = {}

    def rename(found: re.Match[str]) -> str:
        old = found.group()
        new = public.get(old.rpartition(".")[2], old)
        renamed.update({old: new} if new != old else {})
        return new

    workflows = sorted((folder / "configs").glob("*.yaml"))
    if not workflows:
        raise DelineateError(f"{folder} is no bundle: it has no configs/*.yaml; name a bundle's or run's folder")
    try:
        for path in workflows:
            text = path.read_text(encoding="utf-8")
            if (new := _NAME.sub(rename, text)) != text:
                write_atomically(path, new.encode())
        without = [name for name in WORKFLOWS if _lacks_tta(workflow_config(folder, name))]
        for name in without:
            change_workflow(folder, name, _add_tta)
    except OSError as error:
        raise DelineateError(f"{error.filename} cannot be written ({error.strerror}); copy the bundle first") from error
    added = [f"tta: null is added to {', '.join(without)}"] if without else []
    return [f"{old} -> {new}" for old, new in renamed.items()] + added


def _lacks_tta(workflow: Any) -> bool:
    inferer = workflow.get("inferer")
    return isinstance(inferer, dict) and inferer.get("_target_") == _INFERER and "tta" not in {**inferer, **workflow}


def _add_tta(workflow: Any) -> None:
    """Bundles of before ``flip_left_right`` and ``upright`` were trained with all views."""
    place = list(workflow).index("inferer")
    workflow.insert(place, "tta", None, comment="flips or rotations: mean of several views")
    known = [name for name in ("tta", "exclusive", "flip_left_right", "upright") if name in workflow]
    writers = [each for each in workflow.get("handlers", []) if each.get("_target_") in _WRITERS]
    workflow["inferer"] |= {name: f"@{name}" for name in known}
    for writer in writers:
        writer["tta"] = "@tta"
