"""Where a bundle may read and write: in its own folder, or where the user says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .config import MISSING, look_up, macro_id
from .expressions import ExpressionError, is_expression, parse, reference_id, references

_ROOT, _DATA = "bundle_root", "dataset_dir"
_READ = frozenset({"dataset_dir", "source", "base_dir", "data_list_file_path", "load_path", "data_root_dir"})
_PATH = re.compile(r"(^|_)(dir|dirs|path|root|folder|dirname|directory|file|files|url)$")
_NO_PATH = frozenset({"drop_path", "dropout_path"})
_NAMES = frozenset(
    {
        *("file_prefix", "final_filename", "key_metric_filename", "filename", "filename_suffix", "filename_prefix"),
        *("output_postfix", "output_ext", "postfix", "filename_pattern"),
    }
)
_NAME = re.compile(r"[\w-]*(\.\w+)*", re.ASCII)
_INSIDE = re.compile(r"(/[\w ,+=-]+(\.[\w-]+)*)*", re.ASCII)
_OUTSIDE = re.compile(r"^[/\\~]|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)")
_SEPARATORS = re.compile(r"[/\\~]|\.\.")
# where the default would be the working folder
_NEEDED = {
    "torch.utils.tensorboard.SummaryWriter": ("log_dir",),
    **{f"monai.transforms.SaveImage{suffix}": ("output_dir",) for suffix in ("", "d", "D", "Dict")},
    **{f"monai.handlers.TensorBoard{kind}Handler": ("log_dir", "summary_writer") for kind in ("", "Stats", "Image")},
}
_REFUSED = frozenset({"folder_layout", "output_name_formatter", "pickle_module", "hash_func"})


def path_problems(component: Mapping[object, object], data: dict[str, Any], top: bool) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for entries of a mapping that lead out of the bundle.

    Args:
        component: a mapping of a configuration file.
        data: the whole file, macros expanded.
        top: whether the mapping is the file itself.
    """
    for key, value in component.items():
        name = str(key)
        if name in _REFUSED and value is not None:
            yield name, f"{name} is not allowed: it decides on names or formats of files; leave it out"
        elif name in _NAMES and not (value is None or (isinstance(value, str) and _NAME.fullmatch(value))):
            yield name, f"{name} {_quoted(value)} is no plain name of a file; write letters, digits, - and _"
        elif name == _ROOT:
            if value != "." and (top or value != f"@{_ROOT}"):
                yield name, f"bundle_root {_quoted(value)} leads to another bundle's files; write '.' or '@{_ROOT}'"
        elif _is_path(name, value) and not _is_inside(name, value, data):
            yield name, f"{name} {_quoted(value)} may lead out of the bundle; {_remedy(name)}"
    target = component.get("_target_")
    needed = _NEEDED.get(target, ()) if isinstance(target, str) else ()
    if needed and not any(component.get(name) is not None for name in needed):
        yield "_target_", f"{target} writes into the working folder by default; {_remedy(needed[0])}"


def text_problem(value: str, data: dict[str, Any]) -> str | None:
    """Say what is wrong with a text that leads out of the bundle, or an expression that could put one together."""
    if not is_expression(value):
        return (
            "names a file outside of the bundle; write '@bundle_root' and what lies in it"
            if _OUTSIDE.search(value)
            else None
        )
    try:
        tree = parse(value)
    except ExpressionError:
        return None  # the grammar says what is wrong
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    ids = [id_ for node in ast.walk(tree) if (id_ := reference_id(node)) is not None]
    separating = [text for text in texts if _SEPARATORS.search(text) and text not in ids]
    found = _path(value, data) if separating else None
    if separating and (found is None or not _INSIDE.fullmatch(found[1])):
        return f"puts a path together with {separating[0][:100]!r}; only \"$@bundle_root + '/name'\" is allowed"
    return None


def _is_path(name: str, value: object) -> bool:
    named = (_PATH.search(name) and name not in _NO_PATH) or name in _READ
    return bool(named) and not isinstance(value, int | float | type(None) | Mapping)


def _is_inside(name: str, value: object, data: dict[str, Any]) -> bool:
    if isinstance(value, str) and value.startswith("%"):
        value = look_up(data, macro_id(value) or "")
        if value is MISSING:
            return True  # rule ids says so
    if name in _READ and isinstance(value, str) and not value.startswith(("$", "@", "%")):
        return not _OUTSIDE.search(value) and ":" not in value  # in the working folder, until the user says where
    found = _path(value, data)
    if found is None:
        return False
    root, rest = found
    if not _INSIDE.fullmatch(rest):
        return False
    return name in _READ or (root == _ROOT and rest != "" and not rest.startswith(("/configs", "/docs")))


def _path(value: object, data: dict[str, Any], depth: int = 0) -> tuple[str, str] | None:
    """Return the id that a path begins with and the text behind it; None for anything else."""
    if not isinstance(value, str) or depth > 20:
        return None
    if is_expression(value):
        try:
            return _joined(parse(value), data, depth)
        except ExpressionError:
            return None
    ids = references(value)
    return _named(ids[0], data, depth) if ids else None


def _joined(node: ast.AST, data: dict[str, Any], depth: int) -> tuple[str, str] | None:
    if (id_ := reference_id(node)) is not None:
        return _named(id_, data, depth)
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add):
        return None
    left = _joined(node.left, data, depth + 1) if depth < 20 else None
    if left is None or not isinstance(node.right, ast.Constant) or not isinstance(node.right.value, str):
        return None
    return left[0], left[1] + node.right.value


def _named(id_: str, data: dict[str, Any], depth: int) -> tuple[str, str] | None:
    if id_ in (_ROOT, _DATA):
        return id_, ""
    raw = look_up(data, id_)
    return None if raw is MISSING else _path(raw, data, depth + 1)


def _remedy(name: str) -> str:
    if name in _READ:
        return "write '@dataset_dir', or \"$@bundle_root + '/name'\""
    return f"write {name}: \"$@bundle_root + '/name'\""


def _quoted(value: object) -> str:
    return repr(value)[:200]
