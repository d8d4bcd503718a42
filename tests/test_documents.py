"""The examples of docstrings run, and what the documents tell readers to type exists."""

from __future__ import annotations

import doctest
import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
import typer
import yaml
from documents import PAGES, ROOT, blocks, commands, mentions

from delineate.pipelines.cli import app

README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = [path for folder in ("networks", "pipelines") for path in (ROOT / folder).rglob("*.py")]
EXAMPLES = [path for path in SOURCES if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_a_module_give_what_they_say(path: Path) -> None:
    name = ".".join(("delineate", *path.relative_to(ROOT).with_suffix("").parts))
    failed, tried = doctest.testmod(import_module(name), extraglobs={"torch": torch})
    assert (failed, tried > 0) == (0, True)


def of_all(what: Any) -> list[tuple[str, str]]:
    return [(page.name, line) for page in PAGES for line in what(page.read_text(encoding="utf-8"))]


def words_of(line: str) -> list[str]:
    """Without the variables set before it and the comment after it."""
    words = shlex.split(line, comments=True)
    while "=" in words[0]:
        words.pop(0)
    return words


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command of ``delineate`` that is named, and the words after it."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command: Any) -> set[str]:
    return {"--help", *(name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts))}


def check_delineate(words: list[str]) -> None:
    command, rest = resolve(words)
    assert not hasattr(command, "commands"), f"{words[1:2]} is no command"
    command.make_context(command.name, list(rest))


def check_stock(words: list[str]) -> None:
    known = {name for word in words[:1] for name in inspect.signature(getattr(monai.bundle, word)).parameters}
    for workflow in (ROOT / "bundles/skin_lesion/configs").glob("*.yaml"):
        known |= set(yaml.safe_load(workflow.read_text()))
    assert {word[2:] for word in words if word.startswith("--")} <= known


def check(words: list[str]) -> None:
    """That the program knows such a command and each of its options; nothing is run."""
    given = {word.split("=")[0] for word in words if word.startswith("--")}
    if words[0] == "delineate":
        check_delineate(words)
    elif words[:3] == ["python", "-m", "monai.bundle"]:
        check_stock(words[3:])
    elif words[0] == "torchrun":
        check_stock(words[words.index("monai.bundle") + 1 :])
    elif words[0] == "python":
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        assert all(f'"{option}"' in script for option in given)
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
    elif words[0] == "pip":
        extras = re.findall(r"\[(\w+)\]", words[-1])
        assert all(re.search(rf"^{extra} = ", (ROOT / "pyproject.toml").read_text(), re.M) for extra in extras)
    else:
        assert words[0] == "cd"


@pytest.mark.parametrize(("page", "line"), of_all(commands))
def test_each_line_of_a_shell_block_is_one_that_the_program_takes(page: str, line: str) -> None:
    check(words_of(line))


@pytest.mark.parametrize(("page", "line"), [(page, line) for page, line in of_all(mentions) if "COMMAND" not in line])
def test_a_command_that_is_mentioned_exists(page: str, line: str) -> None:
    words = words_of(line.replace("...", ""))
    if words[0] != "delineate":
        return check(words)
    command, rest = resolve(words)
    assert not rest or rest[0].startswith("--") or not hasattr(command, "commands")
    assert {word for word in rest if word.startswith("--")} <= options_of(command) | {"--install-completion"}


@pytest.mark.parametrize("row", [row for row in README.splitlines() if row.startswith("| `delineate ")])
def test_the_table_of_commands_names_options_that_there_are(row: str) -> None:
    line, text = row.split("|")[1:3]
    command, _ = resolve(words_of(line.strip(" `").replace("...", "")))
    assert set(re.findall(r"(?<!\S)`?(--[a-z-]+)", text)) <= options_of(command)


def test_the_table_names_every_command() -> None:
    def leaves(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        below = getattr(command, "commands", None)
        return [words] if below is None else [leaf for name in below for leaf in leaves(below[name], (*words, name))]

    missing = [
        words for words in leaves(typer.main.get_command(app), ()) if f"`delineate {' '.join(words)}" not in README
    ]
    assert missing == []


def test_python_blocks_name_what_there_is() -> None:
    for page in PAGES:
        for block in blocks(page.read_text(encoding="utf-8"), "python"):
            for line in re.findall(r"^(?:from|import) .*", block, re.M):
                exec(line, {})


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []
