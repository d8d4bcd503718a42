from __future__ import annotations

from collections.abc import Iterator

import pytest
from typer.main import get_command

from delineate.pipelines.cli import app


def commands(command: object, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    yield words, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*words, name))


ALL = dict(commands(get_command(app)))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_and_every_option_has_a_sentence(words: tuple[str, ...]) -> None:
    command = ALL[words]
    texts = {"the command": getattr(command, "help", None)}
    texts |= {each.name: getattr(each, "help", None) for each in getattr(command, "params", ())}
    ours = {name: text or "" for name, text in texts.items() if "completion" not in str(name)}
    assert not [name for name, text in ours.items() if not text.strip().endswith(".")]
