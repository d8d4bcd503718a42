"""What is wrong with a configuration, in the words of those who wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ...core.errors import DelineateError, closest, printable

_LONGEST = 64  # characters of a value that are shown
_TAGS = ("dicom", "web")  # pydantic's names for the kinds of a destination, which are no keys


class ConfigurationError(DelineateError):
    """A configuration that is not in order; the message has the first problem, and how many more there are.

    A node that is started again comes to the same end, so the exit code is another one than where something failed.

    Args:
        file: that it was read from.
        problems: each with its key, what was seen and what is allowed, in one line.
    """

    exit_code = 2

    def __init__(self, file: str | Path, *problems: str) -> None:
        more = f" (and {len(problems) - 1} more; 'delineate node check' lists all)" if len(problems) > 1 else ""
        super().__init__(f"{printable(file)}: {problems[0]}{more}")
        self.lines = [f"{printable(file)}: {problem}" for problem in problems]


def in_words(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Each problem: its key, what was seen, what is allowed."""
    problems = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    return [line for problem in problems for line in _in_words(problem, model).splitlines()]


def _in_words(problem: Any, model: type[BaseModel]) -> str:
    place = [part for part in problem["loc"] if part not in _TAGS]
    key, kind, seen = _key(place), problem["type"], problem["input"]
    if kind == "extra_forbidden":
        known = _keys(model, problem["loc"][:-1])
        hint = closest(str(place[-1]), known) or f"there are: {', '.join(known)}"
        return f"{key}: there is no such key; {hint}"
    if kind == "missing":
        return f"{key}: is missing; write it"
    text = str(problem["msg"]).removeprefix("Value error, ")
    if not place:  # said by the whole, and names its key itself
        return text
    text = re.sub(r"^(Input|String|Tuple|Value) should", "it must", text).removesuffix(" after validation, not 0")
    shown = (
        f"is {printable(repr(seen))[:_LONGEST]}" if isinstance(seen, str | int | float | None) else "is not in order"
    )
    return f"{key}: {shown}; {text}"


def _key(place: Sequence[object]) -> str:
    """``rules[0].match.modality``."""
    words = [f"[{part}]" if isinstance(part, int) else f".{printable(part)[:_LONGEST]}" for part in place]
    return "".join(words).lstrip(".")


def _keys(model: type[BaseModel], place: Sequence[object]) -> list[str]:
    """The keys that there are in one place of the configuration."""
    found: list[type[BaseModel]] = [model]
    for part in place:
        if isinstance(part, int):
            continue
        if part in _TAGS:
            found = [one for one in found if one.__name__.lower() == part]
            continue
        annotations = [one.model_fields[part].annotation for one in found if part in one.model_fields]
        found = [each for annotation in annotations for each in _models(annotation)]
    return sorted({name for one in found for name in one.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation such as ``tuple[Rule, ...]`` or ``Tls | None`` is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in getattr(annotation, "__args__", ()) for each in _models(part)]
