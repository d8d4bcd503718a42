"""A bundle's configuration file as plain data with line numbers: read with safe types only, never run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .expressions import is_expression, references
from .listing import MAX_CONFIG

SEPARATOR = "::"
MAX_DEPTH = 50  # levels of nesting, and of references to references
MAX_ITEMS = 100_000  # after references and macros are replaced
MAX_WRITTEN = 3000  # before
MAX_NUMBER = 1 << 63

_OTHER_FILE = re.compile(r"\.(json|ya?ml)", re.IGNORECASE)


class ConfigError(Exception):
    """A configuration file that cannot be read; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Config:
    """One configuration file.

    Attributes:
        data: its content, keys written as paths (``"a::b"``) and merges (``"+a"``) put in their places.
        expanded: the same with each ``"%id"`` of this file replaced by what the id names.
        lines: line of each id, from 1; ids as in MONAI, ``"train::handlers::0"``.
    """

    data: dict[str, Any]
    expanded: dict[str, Any]
    lines: dict[str, int]

    def line(self, id_: str) -> int:
        """Return the line of an id, or of the closest id above it."""
        while id_ and id_ not in self.lines:
            id_ = id_.rpartition(SEPARATOR)[0]
        return self.lines.get(id_, 1)

    def resolved(self, id_: str) -> Any:
        """Return the value at an id, references replaced by what they name, without ``_desc_``; or `MISSING`.

        Raises:
            ConfigError: references multiply beyond any sensible configuration.
        """
        value = look_up(self.expanded, id_)
        return MISSING if value is MISSING else _Resolver(self.expanded).resolve(value, (id_,))


MISSING = object()


def read_config(path: Path) -> Config:
    """Read a YAML or JSON configuration file.

    YAML goes through PyYAML's safe loader, as in MONAI, so that both read the same text in the same way.

    Raises:
        ConfigError: it is too large, not UTF-8, not valid, or uses tags, anchors, merge or duplicate keys.
    """
    if path.stat().st_size > MAX_CONFIG:
        raise ConfigError(1, f"larger than {MAX_CONFIG} bytes; configuration is short: move data to another file")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".json" and b"\x85" in text.encode():  # a line break, where Python reads files as Latin-1
            raise ConfigError(1, "a character whose UTF-8 holds the byte 0x85 (NEL, as in 'Å'); write plain ASCII")
        return _parsed(text, path.suffix == ".json")
    except UnicodeDecodeError:
        raise ConfigError(1, "not UTF-8 text; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(line, f"not valid YAML ({error.problem}); correct the syntax") from None
    except json.JSONDecodeError as error:
        raise ConfigError(error.lineno, f"not valid JSON ({error.msg}); correct the syntax") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ConfigError(1, f"cannot be read ({type(error).__name__}); correct the syntax") from None


@lru_cache(maxsize=16)  # to parse is most of what it takes to verify a bundle, which is done more than once
def _parsed(text: str, is_json: bool) -> Config:
    """What a text holds; nobody changes it."""
    content, lines = _read_json(text) if is_json else _read_yaml(text)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(1, "not a mapping of names to values; write 'id: value' lines")
    _check_items(content)
    nested = _nested(content)
    return Config(nested, _expanded(nested), lines)


def walk(value: Any, id_: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (id, value) of every item below `value`, containers before their content."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        below = f"{id_}{SEPARATOR}{key}" if id_ else str(key)
        yield below, item
        yield from walk(item, below)


def look_up(data: Any, id_: str) -> Any:
    """Return the value at an id, or `MISSING`."""
    for part in id_.split(SEPARATOR):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, dict):
            data = next((value for key, value in data.items() if str(key) == part), MISSING)
        elif isinstance(data, list) and part.isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            return MISSING
    return data


def macro_id(value: str) -> str | None:
    """Return the id that a ``"%id"`` names, or None when it leads to another file."""
    return None if _OTHER_FILE.search(value) else value[1:].replace("#", SEPARATOR)


def first_difference(one: Any, other: Any, id_: str) -> str:
    """Return the id where two values first differ, an empty string when they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if where := first_difference(one.get(key, MISSING), other.get(key, MISSING), f"{id_}{SEPARATOR}{key}"):
                return where
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((w for i, (a, b) in pairs if (w := first_difference(a, b, f"{id_}{SEPARATOR}{i}"))), "")
    return "" if type(one) is type(other) and (one is other or one == other) else id_


class _Resolver:
    """Replaces references by what they name, within bounds: a few lines can refer to billions of items."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data, self._left = data, MAX_ITEMS

    def resolve(self, value: Any, above: tuple[str, ...]) -> Any:
        self._left -= 1 + (len(value) // 100 if isinstance(value, str) else 0)
        if self._left < 0 or len(above) > MAX_DEPTH:
            raise ConfigError(1, f"references of {above[0]!r} multiply without end; write its values out")
        if isinstance(value, dict):
            return {key: self.resolve(item, above) for key, item in value.items() if key != "_desc_"}
        if isinstance(value, list):
            return [self.resolve(item, above) for item in value]
        if not isinstance(value, str) or not (ids := references(value)):
            return value
        found = {id_: self._named(id_, above) for id_ in ids}
        if not is_expression(value):
            return found[ids[0]]
        text = value.replace("#", SEPARATOR)
        for id_ in sorted(found, key=len, reverse=True):
            text = text.replace(f"@{id_}", f"<{found[id_]!r}>".replace("@", ""))
        self._left -= len(text) // 100
        return text

    def _named(self, id_: str, above: tuple[str, ...]) -> Any:
        value = look_up(self._data, id_)
        return f"@{id_}" if id_ in above or value is MISSING else self.resolve(value, (*above, id_))


def _expanded(data: dict[str, Any]) -> dict[str, Any]:
    macros = [(id_, value) for id_, value in walk(data) if isinstance(value, str) and value.startswith("%")]
    expanded = deepcopy(data)
    left = MAX_ITEMS
    for id_, value in macros:
        named = look_up(data, macro_id(value) or "")
        if isinstance(named, dict | list) and any(str(below).startswith("%") for _, below in walk(named)):
            raise ConfigError(1, f"{value!r} copies what holds other '%' macros; write the values out")
        if named is not MISSING:
            left -= sum(1 for _ in walk(named))
            if left < 0:
                raise ConfigError(1, "'%' macros multiply without end; write the values out")
            _put(expanded, id_, deepcopy(named))
    return expanded


def _check_depth(content: Any) -> None:
    """Bound the depth, so that what walks the content later cannot run out of stack."""
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH):
        level = [below for item in level for below in _children(item)]
    if level:
        raise ConfigError(1, f"nested more than {MAX_DEPTH} levels deep; flatten it")


def _check_items(content: Any) -> None:
    for count, (id_, value) in enumerate(walk(content)):
        if count > MAX_WRITTEN:
            raise ConfigError(1, f"more than {MAX_WRITTEN} items; configuration is short: move data to another file")
        if isinstance(value, int) and abs(value) > MAX_NUMBER:
            raise ConfigError(1, f"{id_[:200]} is a number of {value.bit_length()} bits; write one of at most 64")


def _children(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _nested(content: dict[str, Any]) -> dict[str, Any]:
    """Put top-level keys such as ``"a::b"`` and ``"+a"`` in their places."""
    nested: dict[str, Any] = {}
    for key, value in content.items():
        id_ = _normal(key)
        old = look_up(nested, id_)
        if key.startswith("+") and isinstance(old, dict) and isinstance(value, dict):
            value = {**old, **value}
        elif key.startswith("+") and isinstance(old, list) and isinstance(value, list):
            value = [*old, *value]
        _put(nested, id_, value)
    return nested


def _put(data: Any, id_: str, value: Any) -> None:
    """Set an item, making mappings on the way; a number indexes an existing list."""
    *above, last = id_.split(SEPARATOR)
    for part in above:
        if isinstance(data, list):
            data = data[int(part)]
        else:
            key = part if part in data else next((key for key in data if str(key) == part), part)
            if not isinstance(data.get(key), dict | list):
                data[key] = {}
            data = data[key]
    if isinstance(data, list):
        data[int(last)] = value
    else:
        data[last if last in data else next((key for key in data if str(key) == last), last)] = value


def _normal(key: str) -> str:
    return key.removeprefix("+").replace("#", SEPARATOR)


def _read_json(text: str) -> tuple[Any, dict[str, int]]:
    content = json.loads(text, object_pairs_hook=_without_duplicates)
    _check_depth(content)
    _check_items(content)
    try:  # nearly all JSON is YAML, which knows the lines
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return content, dict(_lines(node)) if node else {}
    except (yaml.YAMLError, ConfigError):
        return content, {}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ConfigError(1, f"the key {twice!r} stands twice in one mapping; keep one")
    return content


def _read_yaml(text: str) -> tuple[Any, dict[str, int]]:
    loader = _PlainLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(1, "empty; write 'id: value' lines")
        lines = dict(_lines(node))
        return loader.construct_document(node), lines
    finally:
        loader.dispose()


class _PlainLoader(yaml.SafeLoader):
    """Refuses what is too much, too deep or not plain while it reads: what follows could take seconds or more."""

    count = depth = 0

    def get_event(self) -> yaml.Event:
        event: yaml.Event = super().get_event()  # type: ignore[no-untyped-call]
        self.count += 1
        if self.count > 3 * MAX_WRITTEN:
            raise ConfigError(_line(event), f"more than {MAX_WRITTEN} items; configuration is short")
        self.depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if self.depth > MAX_DEPTH:  # the parser's time grows with the square of the depth
            raise ConfigError(_line(event), f"nested more than {MAX_DEPTH} levels deep; flatten it")
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            raise ConfigError(_line(event), f"the YAML anchor or alias {anchor!r}; refer with '@id' instead")
        if tag:
            raise ConfigError(_line(event), f"the YAML tag {tag!r}; write plain values")
        return event


def _lines(node: yaml.Node, id_: str = "") -> Iterator[tuple[str, int]]:
    """Yield (id, line) of every item; refuses duplicate and merge keys on the way."""
    items: list[tuple[str, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        items = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        items = [(str(index), item, item) for index, item in enumerate(node.value)]
    seen: set[str] = set()
    for name, place, value in items:
        line = _line(place)
        if place is not value and not isinstance(place, yaml.ScalarNode):
            raise ConfigError(line, "a key that is not plain text; write 'name: value'")
        if place.tag == "tag:yaml.org,2002:merge":
            raise ConfigError(line, "the merge key '<<'; write the entries out")
        if name in seen:
            raise ConfigError(line, f"the key {name!r} stands twice in one mapping; keep one")
        seen.add(name)
        below = f"{id_}{SEPARATOR}{name}" if id_ else _normal(name)
        yield below, line
        yield from _lines(value, below)


def _line(place: yaml.Node | yaml.Event) -> int:
    return place.start_mark.line + 1 if place.start_mark else 1
