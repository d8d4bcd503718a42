"""Public functions and methods that raise say so, under ``Raises:``; a class says what its construction raises."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    path
    for folder in ("networks", "pipelines")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "cli" not in path.parts  # a docstring there is the command's help
]


def raised(node: ast.AST, caught: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names that a function raises itself: not those of functions in it, nor what it catches by that name."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        name = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
        yield from {name} - caught
    for field, value in ast.iter_fields(node):
        types = [handler.type for handler in getattr(node, "handlers", ()) if field == "body" and handler.type]
        names = {ast.unparse(each) for kind in types for each in getattr(kind, "elts", [kind])}
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
                yield from raised(child, caught | names)


def public(node: ast.Module | ast.ClassDef) -> Iterator[tuple[ast.FunctionDef, str]]:
    """The public functions and methods, and the docstring that speaks for each."""
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public(child)
        elif isinstance(child, ast.FunctionDef) and not child.name.startswith("_"):
            yield child, ast.get_docstring(child) or ""
        elif isinstance(child, ast.FunctionDef) and child.name.startswith("__"):
            yield child, f"{ast.get_docstring(node)}\n{ast.get_docstring(child)}"


def kind(module: Any, name: str) -> Any:
    """The class of an error; ``None`` where a variable or a function makes it."""
    found = getattr(module, name.split(".")[0], getattr(builtins, name, None))
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_raised_is_said(path: Path) -> None:
    module = import_module(".".join(("delineate", *path.relative_to(ROOT).with_suffix("").parts)))
    silent = []
    for function, text in public(ast.parse(path.read_text(encoding="utf-8"))):
        said = re.findall(r"\w+", text.partition("Raises:")[2])
        for name in raised(function):
            error = kind(module, name)
            kinds = [each for each in (kind(module, word) for word in said) if each]
            if not (issubclass(error, tuple(kinds)) if error else said):
                silent.append(f"{path.name}:{function.lineno} {function.name} raises {name}")
    assert silent == []
