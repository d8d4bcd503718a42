"""Commands that take the full installation: where torch is not installed, they say so before they begin."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand

from ...installation import has_torch
from ..core.errors import DelineateError


class FullCommand(TyperCommand):
    """A command that the runtime without torch does not have; its help it has."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            DelineateError: torch is not installed.
        """
        if not has_torch():
            raise DelineateError(
                f"{ctx.command_path} needs the full installation of Delineate; this runtime only segments: "
                "delineate segment FOLDER IMAGES --out MASKS, with a FOLDER of 'delineate export'"
            )
        return super().invoke(ctx)


def need_full(app: typer.Typer, *but: str) -> None:
    """Let every command of ``app`` take the full installation, but for those named.

    Without it help lists them apart.
    """
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        if name not in but:
            command.cls = FullCommand
            command.rich_help_panel = panel()


def panel() -> str | None:
    """The heading under which help lists what needs the full installation; the usual one where it is there."""
    return None if has_torch() else "Commands of the full installation, which this runtime does not have"
