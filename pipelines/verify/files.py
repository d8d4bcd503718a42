"""Which files a bundle may hold: nothing that runs, and weights that are tensors and no more."""

from __future__ import annotations

import ast
import configparser
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from .findings import Finding

_CODE = (
    *(
        ".py",
        ".pyc",
        ".pyd",
        ".pyi",
        ".pyo",
        ".pyw",
        ".pyx",
        ".ipynb",
        ".so",
        ".dll",
        ".dylib",
        ".exe",
        ".sh",
        ".bash",
    ),
    *(
        ".bat",
        ".cmd",
        ".ps1",
        ".js",
        ".jar",
        ".html",
        ".pkl",
        ".pickle",
        ".joblib",
        ".npy",
        ".npz",
        ".zip",
        ".tar",
    ),
    *(".gz", ".bz2", ".xz", ".tgz", ".7z", ".rar", ".whl", ".egg"),
)
_TEXT = ("LICENSE", "SHA256SUMS", "*.md", "*.txt", "*.json", "*.yaml", "*.conf", "*.csv", "*.log", "training.lock")
_OTHER = ("*.png", "events.out.tfevents.*")
_WEIGHTS = ("models/*.pt", "checkpoints/*.pt", "models/*.onnx", "models/*.onnx.data", "models/*.ts")
_PNG = b"\x89PNG\r\n\x1a\n"

_LOGGING_CLASSES = {
    f"{prefix}{name}"
    for prefix in ("", "logging.")
    for name in ("Formatter", "StreamHandler", "FileHandler", "NullHandler", "handlers.RotatingFileHandler")
}

_MAX_PICKLE = 64 << 20  # bytes of data.pkl, which holds names and shapes, not the values
_MEMBER = re.compile(
    r"(?P<top>[^/]+)/(data\.pkl|version|byteorder|data/\d+|\.data/serialization_id|\.format_version|\.storage_alignment)"
)
_GLOBAL = re.compile(
    r"collections (OrderedDict|Counter)"
    r"|torch\._utils _rebuild_(tensor|tensor_v2|parameter|parameter_with_state)"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout|_codecs encode"
    r"|torch (Size|device|bool|bfloat16|float(16|32|64)|u?int\d+|complex\d+|[A-Z][A-Za-z0-9]*Storage)"
    r"|torch\.storage (Untyped|Typed)Storage"
)
_OPCODES_REFUSED = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "PERSID"})


def check_files(folder: Path) -> Iterator[Finding]:
    """Yield a finding for every file that does not belong in a bundle.

    Args:
        folder: the bundle's folder; symbolic links in it are reported, not followed.
    """
    for top, folders, files in os.walk(folder):
        folders.sort()
        for name in [*folders, *sorted(files)]:
            path = Path(top, name)
            relative = path.relative_to(folder).as_posix()
            problem = _problem(path, relative, is_folder=name in folders)
            if problem:
                yield Finding(relative, 1, "code", problem)
        folders[:] = [name for name in folders if not _is_skipped(Path(top, name).relative_to(folder).as_posix())]


def check_logging(folder: Path) -> Iterator[Finding]:
    """Yield findings of every ``*.conf``: Python's logging evaluates its ``class``, ``args`` and the like."""
    for path in sorted(folder.rglob("*.conf")):
        if path.is_file() and not path.is_symlink():
            relative = path.relative_to(folder).as_posix()
            for line, problem in _logging_problems(path):
                yield Finding(relative, line, "code", problem)


def weights_problem(path: Path) -> str | None:
    """Look into a torch file without loading it.

    Args:
        path: a file written by ``torch.save``.

    Returns:
        None when it holds tensors and plain containers only, otherwise what is wrong and what to do.
    """
    again = "save the state dict again with torch.save(model.state_dict(), path)"
    try:
        with path.open("rb") as stream:
            if stream.read(4) != b"PK\x03\x04":
                return f"not a torch file in zip format; {again}"
        with zipfile.ZipFile(path) as archive:
            problem = _members_problem(archive)
            if problem is None:
                name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                problem = _pickle_problem(archive.read(name))
    except (
        zipfile.BadZipFile,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        EOFError,
        IndexError,
    ) as error:
        problem = f"cannot be read ({type(error).__name__})"
    return f"{problem}; {again}" if problem else None


def _is_skipped(relative: str) -> bool:
    return relative == "cache" or PurePosixPath(relative).name == "__pycache__"


def _problem(path: Path, relative: str, is_folder: bool) -> str | None:
    if path.is_symlink():
        return "a symbolic link; put the file itself in its place"
    if is_folder:
        if relative == "cache":
            return "cached items of a training are images and paths of its data; remove cache/ before shipping"
        return "compiled Python; remove the folder" if _is_skipped(relative) else None
    if not path.is_file():
        return "neither file nor folder; remove it"
    return _name_problem(relative) or _content_problem(path, relative)


def _name_problem(relative: str) -> str | None:
    name = PurePosixPath(relative).name
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _CODE:
        return f"a {suffix} file can carry code; remove it: a bundle is configuration, weights and text"
    if suffix == ".yml":
        return "MONAI's tools look for .yaml; rename it to .yaml"
    if suffix == ".pt" and not relative.startswith(("models/", "checkpoints/")):
        return "weights outside models/; move it there"
    if any(fnmatchcase(name, pattern) for pattern in (*_TEXT, *_OTHER)) and not name.startswith("."):
        return None
    if any(fnmatchcase(relative, pattern) for pattern in _WEIGHTS):
        return None
    return "a kind of file that does not belong in a bundle; remove it"


def _content_problem(path: Path, relative: str) -> str | None:
    if relative.endswith(".pt"):
        return weights_problem(path)
    with path.open("rb") as stream:
        head = stream.read(4096)
    if relative.endswith(".png") and not head.startswith(_PNG):
        return "not a PNG picture; remove it or save it as PNG"
    if any(fnmatchcase(path.name, pattern) for pattern in _TEXT) and (b"\0" in head or head.startswith(b"#!")):
        return "not plain text; remove it"
    return None


def _members_problem(archive: zipfile.ZipFile) -> str | None:
    names = archive.namelist()
    matches = [_MEMBER.fullmatch(name) for name in names]
    strange = [name for name, match in zip(names, matches, strict=True) if match is None]
    if strange:
        return f"holds {strange[0]!r}, which is not part of a state dict"
    if len(set(names)) < len(names) or len({match["top"] for match in matches if match}) != 1:
        return "holds parts of more than one file"
    pickles = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0].file_size > _MAX_PICKLE:
        return "has no data.pkl of a state dict's size"
    return None


def _pickle_problem(data: bytes) -> str | None:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _OPCODES_REFUSED:
            return f"its pickle uses {opcode.name}, which can build any object"
        if opcode.name == "GLOBAL" and not _GLOBAL.fullmatch(str(argument)):
            return f"its pickle names {str(argument).replace(' ', '.')!r}, which is no tensor"
    return None


def _logging_problems(path: Path) -> Iterator[tuple[int, str]]:
    parser = configparser.RawConfigParser()
    try:
        text = path.read_text(encoding="utf-8")
        parser.read_string(text)
    except (configparser.Error, UnicodeDecodeError) as error:
        yield getattr(error, "lineno", None) or 1, "not a logging configuration; mend the syntax"
        return
    for section in [parser.default_section, *parser.sections()]:
        for key in ("class", "args", "kwargs", "defaults"):
            value = str(parser[section].get(key, "")).strip()
            if value and not _is_harmless(key, value):
                yield _line_of(text, section, key), _logging_message(key, value)


def _is_harmless(key: str, value: str) -> bool:
    if key == "class":
        return value in _LOGGING_CLASSES
    try:
        tree = ast.parse(value.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return "%(" not in value and _is_literal(tree)


def _is_literal(node: ast.AST) -> bool:
    """Literals, containers of them, sys.stdout and sys.stderr; no text that leads out of the bundle."""
    if isinstance(node, ast.Constant):
        text = node.value if isinstance(node.value, str) else ""
        return not (text.startswith(("/", "\\", "~")) or ".." in text or ":" in text)
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_literal, node.elts))
    if isinstance(node, ast.Dict):
        return all(key is not None and _is_literal(key) for key in node.keys) and all(map(_is_literal, node.values))
    return isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr")


def _logging_message(key: str, value: str) -> str:
    if key == "class":
        return f"class={value} is evaluated as code; write StreamHandler, FileHandler or NullHandler"
    return f"{key}={value} is evaluated as code; write literals, sys.stdout or sys.stderr, and relative paths"


def _line_of(text: str, section: str, key: str) -> int:
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            current = line.strip().strip("[]")
        elif current == section and re.match(rf"{key}\s*[=:]", line, re.IGNORECASE):
            return number
    return 1
