"""The small grammar of `$` expressions in a bundle, checked on the syntax tree; nothing is evaluated here.

MONAI hands the text behind `$` to Python's `eval` with `monai`, `torch`, `np` and `numpy` in reach. Whatever
hangs off those modules (`torch.os.system`) would run too, so a dotted name has to be in a list, in full.
"""

from __future__ import annotations

import ast
import re
import warnings

from ...core.errors import closest

PREFIX = "$"
MAX_LENGTH = 1000  # characters; longer ones are no configuration, and deep nesting exhausts the parser

# pattern and replacement are those of MONAI's ReferenceResolver, or this would judge another text than is run
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_REFERENCES = "__local_refs"

_FUNCTIONS = frozenset({"bool", "dict", "float", "int", "len", "list", "max", "min", "range", "str", "tuple"})
_CALLS = frozenset(
    {
        "monai.data.set_track_meta",
        "monai.handlers.from_engine",
        "monai.handlers.stopping_fn_from_loss",
        "monai.handlers.stopping_fn_from_metric",
        "monai.utils.set_determinism",
        "torch.cuda.device_count",
        "torch.cuda.is_available",
        "torch.device",
        "torch.get_num_threads",
        "torch.tensor",
    }
)
_DTYPES = ("bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8")
_VALUES = frozenset(
    {f"{root}.{dtype}" for root in ("torch", "np", "numpy") for dtype in _DTYPES if (root, dtype) != ("np", "bool")}
    | {"torch.bfloat16", "torch.channels_last", "torch.contiguous_format"}
    | {"monai.data.list_data_collate", "monai.data.pad_list_data_collate"}
)
_METHODS = frozenset({"get", "items", "keys", "parameters", "run", "state_dict", "to", "values"})
_ATTRIBUTES = frozenset({"device", "dtype", "epoch", "iteration", "max_epochs", "shape", "state", "type"})

_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod),
    *(ast.UAdd, ast.USub, ast.Not, ast.And, ast.Or),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn),
)
_PLAIN = (
    *(ast.Expression, ast.List, ast.Tuple, ast.Set, ast.Slice, ast.Load, ast.keyword),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, *_OPERATORS),
)
_REFUSED = {
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "an f-string",
    ast.Starred: "a starred argument",
    ast.Pow: "a power",
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), "a comprehension"),
}


class ExpressionError(Exception):
    """An expression outside the grammar; says what was seen and what to write instead."""


def is_expression(value: object) -> bool:
    """Tell whether MONAI would evaluate `value`: a string that starts with ``$``."""
    return isinstance(value, str) and value.startswith(PREFIX)


def references(value: str) -> list[str]:
    """Return the ids that `value` refers to, as MONAI does: all in an expression, or a whole ``"@id"``.

    Args:
        value: a string of a configuration.

    Returns:
        The ids without ``@``, e.g. ``["train::trainer"]``; a relative one keeps its leading ``::``.
    """
    value = value.replace("#", "::")
    found = _REFERENCE.findall(value)
    return [item[1:] for item in found if value.startswith(PREFIX) or value == item]


def expression_problem(expression: str) -> str | None:
    """Check one expression against the grammar, without running it.

    Args:
        expression: the string as it stands in the configuration, with its ``$``.

    Returns:
        None when it is allowed, otherwise what was seen and, after a semicolon, what to write instead.
    """
    try:
        _check(parse(expression))
    except ExpressionError as refusal:
        return str(refusal)
    except RecursionError:
        return "nested too deeply; split it into named values"
    return None


def parse(expression: str) -> ast.expr:
    """Return the syntax tree of an expression, each ``@id`` replaced as MONAI does.

    Raises:
        ExpressionError: it is too long, no expression, or holds what MONAI would read otherwise.
    """
    text = expression[len(PREFIX) :]
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"{len(text)} characters long; split it into named values of at most {MAX_LENGTH}")
    if "#" in text:
        raise ExpressionError("holds '#', which MONAI reads as '::'; write '::' in ids, and comments behind the value")
    if "@::" in text or "%::" in text:  # MONAI pastes the names of the items around it, unchecked, in between
        raise ExpressionError("holds a relative id ('@::' or '%::'); write the full id")
    if "__" in text:
        raise ExpressionError("holds a double underscore; rename the id or leave it out")
    for item in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(item, f"{_REFERENCES}['{item[1:]}']")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning of `1 is 1` and the like
            return ast.parse(text.lstrip(" \t"), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError):
        raise ExpressionError("not one Python expression; write a single expression, imports are not allowed") from None


def _check(node: ast.AST) -> None:
    """Refuse the first node outside the grammar."""
    if isinstance(node, ast.Name | ast.Attribute):
        _check_name(node)
        return
    if isinstance(node, ast.Subscript) and _is_reference(node):
        return
    if isinstance(node, ast.Call):
        _check_callee(node.func)
        children: list[ast.AST] = [*node.args, *node.keywords]
    elif isinstance(node, ast.Dict):
        if None in node.keys:
            raise ExpressionError("unpacks a mapping with '**'; write its entries one by one")
        children = [*filter(None, node.keys), *node.values]
    else:
        _check_kind(node)
        children = list(ast.iter_child_nodes(node))
    for child in children:
        _check(child)


def _check_kind(node: ast.AST) -> None:
    if isinstance(node, ast.Constant):
        if node.value is not None and not isinstance(node.value, str | int | float):
            raise ExpressionError(f"the literal {node.value!r}; only text, numbers, True, False and None are allowed")
    elif isinstance(node, ast.keyword) and node.arg is None:
        raise ExpressionError("unpacks arguments with '**'; write them one by one")
    elif not isinstance(node, (*_PLAIN, ast.Subscript)):
        kind = _REFUSED.get(type(node), f"a Python construct ({type(node).__name__})")
        raise ExpressionError(f"holds {kind}; use literals, references, arithmetic, conditions and the allowed calls")


def _check_name(node: ast.Name | ast.Attribute) -> None:
    """A name outside a call: a listed value, or a plain attribute of a reference."""
    name = dotted(node)
    if name in _VALUES:
        return
    if name:
        hint = closest(name, _VALUES | _CALLS) or "use a reference '@id' or a literal"
        raise ExpressionError(f"the name {name!r} is not allowed; {hint}")
    assert isinstance(node, ast.Attribute)
    if node.attr not in _ATTRIBUTES or not _hangs_on_reference(node.value):
        raise ExpressionError(
            f"the attribute {node.attr!r} is not allowed; allowed of a reference: {_listed(_ATTRIBUTES)}"
        )
    _check(node.value)


def _check_callee(node: ast.expr) -> None:
    name = dotted(node)
    if name in _CALLS or name in _FUNCTIONS:
        return
    if name:
        hint = closest(name, _CALLS | _FUNCTIONS) or "do it with a '_target_' that is allowed"
        raise ExpressionError(f"calls {name!r}; {hint}")
    if not isinstance(node, ast.Attribute):
        raise ExpressionError("calls what is not a name; use a '_target_' instead")
    if node.attr not in _METHODS or not _hangs_on_reference(node.value):
        raise ExpressionError(f"calls the method {node.attr!r}; allowed of a reference: {_listed(_METHODS)}")
    _check(node.value)


def dotted(node: ast.expr) -> str:
    """Return ``"a.b.c"`` for a chain of plain names, an empty string for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def reference_id(node: ast.AST) -> str | None:
    """Return the id, where `node` is what MONAI puts in place of an ``@id``."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == _REFERENCES:
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else None
    return None


def _is_reference(node: ast.expr) -> bool:
    return reference_id(node) is not None


def _hangs_on_reference(node: ast.expr) -> bool:
    """Tell whether a chain of attributes, subscripts and calls begins with a reference."""
    while not _is_reference(node):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return False
    return True


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
