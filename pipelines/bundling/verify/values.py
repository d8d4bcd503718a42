"""What values of a configuration come to, as far as that can be said without running anything: their kind and size.

`$` expressions can grow (``[0] * 9000000000``, text that formats a number with a width, references that double), so
arithmetic is allowed only where both sides are known to be numbers, texts or lists, and within bounds.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .config import MISSING, look_up
from .expressions import ExpressionError, dotted, is_expression, parse, reference_id, references

MAX_SIZE = 100_000  # items of a list, characters of a text, with all that they refer to
MAX_RANGE = 100_000
MAX_PEAK = 1e15  # of a number in an expression
_COUNTS = {"len": 1e6, "bool": 1.0, "torch.cuda.device_count": 64.0, "torch.get_num_threads": 1024.0}
_COUNTERS = ("epoch", "iteration", "max_epochs")

Kind = Literal["none", "number", "text", "list", "numbers", "object"]


@dataclass(frozen=True)
class Value:
    """A value: `size` counts items or characters, `peak` is the largest number in it, by amount."""

    kind: Kind
    size: float = 1
    peak: float = 0

    @property
    def is_list(self) -> bool:
        """Tell whether it is a list or a tuple."""
        return self.kind in ("list", "numbers")


_OBJECT = Value("object")


class TooLargeError(Exception):
    """Says what grows too large, and what to write instead."""


class Values:
    """The values of one configuration file.

    Args:
        data: the file's content, macros expanded.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._known: dict[str, Value] = {}
        self._open: set[str] = set()

    def of(self, value: Any) -> Value:
        """Return what a value comes to.

        Raises:
            TooLargeError: it grows too large, or does arithmetic with what cannot be told.
        """
        if value is None:
            return Value("none")
        if isinstance(value, int | float):
            return Value("number", 1, abs(value))
        if isinstance(value, str):
            return self._of_text(value)
        if isinstance(value, list):
            return self._of_items([self.of(item) for item in value])
        if isinstance(value, dict):
            inside = self._of_items([self.of(item) for key, item in value.items() if key != "_desc_"])
            return _OBJECT if "_target_" in value else Value("object", inside.size, inside.peak)
        return _OBJECT

    def _of_text(self, text: str) -> Value:
        if is_expression(text):
            try:
                return self._of_node(parse(text))
            except ExpressionError:
                return _OBJECT  # the grammar says what is wrong
        ids = references(text)
        return self._named(ids[0]) if ids else Value("text", len(text))

    def _named(self, id_: str) -> Value:
        if id_ in self._known:
            return self._known[id_]
        raw = look_up(self._data, id_)
        if raw is MISSING or id_ in self._open:
            return Value("none")
        if len(self._open) > 40:
            raise TooLargeError("references lead to references more than 40 deep; write the values out")
        self._open.add(id_)
        try:
            found = self._known[id_] = self.of(raw)
        finally:
            self._open.discard(id_)
        return found

    def _of_items(self, items: Sequence[Value]) -> Value:
        size = 1 + sum(item.size for item in items)
        if size > MAX_SIZE:
            raise TooLargeError(f"comes to more than {MAX_SIZE} items; write less")
        peak = max((item.peak for item in items), default=0)
        numbers = bool(items) and all(item.kind == "number" for item in items)
        return Value("numbers" if numbers else "list", size, peak)

    def _of_node(self, node: ast.AST) -> Value:
        if (id_ := reference_id(node)) is not None:
            return self._named(id_)
        if isinstance(node, ast.Constant):
            return self.of(node.value) if not isinstance(node.value, str) else Value("text", len(node.value))
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return self._of_items([self._of_node(item) for item in node.elts])
        if isinstance(node, ast.Dict):
            inside = self._of_items([self._of_node(item) for item in (*filter(None, node.keys), *node.values)])
            return Value("object", inside.size, inside.peak)
        if isinstance(node, ast.BinOp):
            return self._of_arithmetic(node)
        if isinstance(node, ast.Call):
            return self._of_call(node)
        if isinstance(node, ast.Subscript):
            return self._of_part(node)
        return self._of_other(node)

    def _of_other(self, node: ast.AST) -> Value:
        children = [self._of_node(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        if isinstance(node, ast.Attribute):
            return Value("number", 1, 1e6) if node.attr in _COUNTERS else _OBJECT
        if isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)):
            return Value("number", 1, 1)
        if isinstance(node, ast.UnaryOp):
            return children[0]
        if isinstance(node, ast.IfExp):
            children = [self._of_node(node.body), self._of_node(node.orelse)]
        return _either(children) if isinstance(node, ast.IfExp | ast.BoolOp) else _OBJECT

    def _of_arithmetic(self, node: ast.BinOp) -> Value:
        left, right = self._of_node(node.left), self._of_node(node.right)
        if isinstance(node.op, ast.Add) and "none" in (left.kind, right.kind):
            return right if left.kind == "none" else left
        if isinstance(node.op, ast.Add) and ((left.is_list and right.is_list) or left.kind == right.kind == "text"):
            if left.size + right.size > MAX_SIZE:
                raise TooLargeError(f"comes to more than {MAX_SIZE} items; write less")
            kind = left.kind if left.kind == right.kind else "list"
            return Value(kind, left.size + right.size, max(left.peak, right.peak))
        if not {left.kind, right.kind} <= {"number", "none"}:
            sign = {ast.Mult: "repeats", ast.Mod: "formats"}.get(type(node.op), "does arithmetic with")
            raise TooLargeError(f"{sign} what is not known to be a number; write the value out")
        peak = left.peak * right.peak if isinstance(node.op, ast.Mult) else left.peak + right.peak
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
            peak = left.peak
        if peak > MAX_PEAK:
            raise TooLargeError(f"comes to a number over {MAX_PEAK:g}; write a smaller one")
        return Value("number", 1, peak)

    def _of_call(self, node: ast.Call) -> Value:
        arguments = [self._of_node(each) for each in [*node.args, *(keyword.value for keyword in node.keywords)]]
        if isinstance(node.func, ast.Attribute):
            self._of_node(node.func.value) if not dotted(node.func) else None
        name = dotted(node.func)
        inside = self._of_items(arguments)
        if name in _COUNTS:
            return Value("number", 1, _COUNTS[name])
        if name in ("int", "float"):
            known = all(argument.kind == "number" for argument in arguments)
            return Value("number", 1, inside.peak if known else float("inf"))
        if name in ("max", "min"):
            known = all(argument.kind in ("number", "numbers", "none") for argument in arguments)
            return Value("number", 1, inside.peak) if known else _OBJECT
        if name == "range":
            if inside.peak > MAX_RANGE or not all(argument.kind in ("number", "none") for argument in arguments):
                raise TooLargeError(f"a range over more than {MAX_RANGE} numbers; write a smaller one")
            return Value("list", inside.peak + 1, inside.peak)
        if name in ("list", "tuple"):
            return Value("list", inside.size, inside.peak)
        return Value("text", max(20, inside.size)) if name == "str" else _OBJECT

    def _of_part(self, node: ast.Subscript) -> Value:
        whole = self._of_node(node.value)
        if whole.kind == "text":
            raise TooLargeError("cuts a text; write the part")
        if isinstance(node.slice, ast.Slice):
            return whole if whole.is_list else _OBJECT
        self._of_node(node.slice)
        return Value("number", 1, whole.peak) if whole.kind == "numbers" else _OBJECT


def _either(values: Sequence[Value]) -> Value:
    """One of several: the kind that they share, and the largest size."""
    kinds = {value.kind for value in values} - {"none"}
    kind: Kind = kinds.pop() if len(kinds) == 1 else ("list" if kinds == {"list", "numbers"} else "object")
    if not values:
        return _OBJECT
    kind = "none" if {value.kind for value in values} == {"none"} else kind
    return Value(kind, max(value.size for value in values), max(value.peak for value in values))
