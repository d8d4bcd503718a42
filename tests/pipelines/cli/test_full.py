from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from delineate.pipelines.cli import full


def made(monkeypatch: pytest.MonkeyPatch, has_torch: bool) -> typer.Typer:
    monkeypatch.setattr(full, "has_torch", lambda: has_torch)
    app = typer.Typer()

    @app.command()
    def segment() -> None:
        """Segment."""

    @app.command()
    def train() -> None:
        """Train."""

    full.need_full(app, "segment")
    return app


@pytest.mark.parametrize("has_torch", [True, False])
def test_help_lists_apart_what_a_runtime_does_not_have(monkeypatch: pytest.MonkeyPatch, has_torch: bool) -> None:
    text = CliRunner().invoke(made(monkeypatch, has_torch), ["--help"]).stdout
    before, heading, after = text.partition("Commands of the full installation")
    assert bool(heading) is not has_torch
    assert "segment" in before
    assert "train" in (before if has_torch else after)
