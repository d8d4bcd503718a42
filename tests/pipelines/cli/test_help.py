from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.rich_utils
from typer.main import get_command
from typer.testing import CliRunner

from delineate.pipelines.cli import app

ESCAPED = "\\["


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


ALL = dict(commands(get_command(app)))


def plain(text: str) -> str:
    """Letters as they are read: no frames, no escapes, one space between words."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).replace(ESCAPED, "[").split())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_and_every_option_has_a_sentence(words: tuple[str, ...]) -> None:
    command = ALL[words]
    texts = {"the command": command.help}
    texts |= {each.name or "": getattr(each, "help", None) for each in command.params}
    ours = {name: text or "" for name, text in texts.items() if "completion" not in name}
    assert not [name for name, text in ours.items() if not text.strip().endswith(".")]


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_nothing_of_a_help_text_is_lost(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes words in brackets for markup, and drops them."""
    monkeypatch.setattr(typer.rich_utils, "MAX_WIDTH", 1000)
    shown = plain(CliRunner().invoke(app, [*words, "--help"]).output)
    command = ALL[words]
    options = [param for param in command.params if not getattr(param, "hidden", False)]
    texts = [getattr(param, "help", None) for param in options] + [param.metavar for param in options]
    texts += [each.strip() for each in (command.help or "").split("\n\n")]
    assert shown
    for text in filter(None, texts):
        assert plain(text) in shown


def test_what_is_in_brackets_is_seen() -> None:
    assert "needs the extra [pretrained]." in plain(CliRunner().invoke(app, ["data", "audit", "--help"]).output)
