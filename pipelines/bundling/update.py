"""Bundles of earlier versions: what has another name now is renamed."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.errors import DelineateError
from ..core.files import write_atomically
from .verify.targets import own_targets

_NAME = re.compile(r"\bdelineate\.(?:networks|pipelines)(?:\.\w+)+")


def update_bundle(folder: Path) -> dict[str, str]:
    """Rename what a bundle's workflows name of Delineate and has moved since; nothing else in them changes.

    Args:
        folder: of a bundle or run.

    Returns:
        new names by old ones; empty where all names are in order.

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
    for path in workflows:
        text = path.read_text(encoding="utf-8")
        if (new := _NAME.sub(rename, text)) != text:
            try:
                write_atomically(path, new.encode())
            except OSError as error:
                raise DelineateError(f"{path} cannot be written ({error.strerror}); copy the bundle first") from error
    return renamed
