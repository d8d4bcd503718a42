"""A bundle's ``logging.conf``: Python's logging evaluates parts of it as code and opens the files that it names."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path

# What a bundle may log to is the console: a file's name and format are a stranger's text in a place of his choice.
_CLASSES = frozenset(
    f"{prefix}{name}" for prefix in ("", "logging.") for name in ("Formatter", "StreamHandler", "NullHandler")
)
_ARGS = re.compile(r"\(\s*(sys\.(stdout|stderr)\s*,?\s*)?\)")
_SECTIONS = re.compile(r"loggers|handlers|formatters|(logger|handler|formatter)_\w+", re.ASCII)
_KEYS = frozenset(
    ("keys", "level", "handlers", "qualname", "propagate", "class", "formatter", "args", "format", "datefmt", "style")
)


def logging_problems(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) of a logging configuration."""
    parser = configparser.RawConfigParser()
    try:
        text = path.read_text(encoding="utf-8")
        parser.read_string(text)
    except (configparser.Error, UnicodeDecodeError) as error:
        yield getattr(error, "lineno", None) or 1, "not a logging configuration; correct the syntax"
        return
    if not all(c.isprintable() or c in "\n\r\t" for c in text):
        yield 1, "holds control characters; write plain text"
    for section in [parser.default_section, *parser.sections()]:
        if section != parser.default_section and not _SECTIONS.fullmatch(section):
            yield _line_of(text, section, ""), f"the section [{section}] is none of a logging configuration; remove it"
        for key, value in parser[section].items():
            if problem := _problem(key, value.strip()):
                yield _line_of(text, section, key), problem


def _problem(key: str, value: str) -> str | None:
    if key not in _KEYS:
        return f"the key {key!r} is not allowed; allowed are {', '.join(sorted(_KEYS))}"
    if key == "class" and value not in _CLASSES:
        return f"class={value[:100]} is evaluated as code; write StreamHandler or NullHandler, which write no files"
    if key == "args" and not _ARGS.fullmatch(value):
        return f"args={value[:100]} is evaluated as code; write (sys.stdout,) or (sys.stderr,)"
    return None


def _line_of(text: str, section: str, key: str) -> int:
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            current = line.strip().strip("[]")
            if current == section and not key:
                return number
        elif current == section and key and re.match(rf"{re.escape(key)}\s*[=:]", line, re.IGNORECASE):
            return number
    return 1
