"""Caches of prepared items: in memory, on disk, or none at all, as the memory budget decides."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from glob import escape
from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np
import psutil
import torch
from monai.data import CacheDataset, Dataset, MetaTensor
from monai.transforms import Compose, RandomizableTrait, reset_ops_id

from ..core.files import remove_leftovers, write_atomically
from ..core.ranks import local_process_count
from ..core.versions import versions
from .datasets import Fields, named_paths

logger = logging.getLogger(__name__)
_HEADERS = (".mhd", ".nhdr")  # their voxels are in another file, named alike


def cached_dataset(
    data: Sequence[Fields],
    transform: Callable[..., Any],
    cache_dir: str | Path | None = None,
    budget_gb: float | None = None,
) -> Dataset:
    """The transformed items in memory, or, where they do not fit, on disk.

    The cache's size is estimated from a few items and logged before it is filled.

    Args:
        data: items as :func:`delineate.pipelines.loading.load_datalist` gives them.
        transform: deterministic transforms; what they return is cached.
        cache_dir: where :class:`DiskDataset` keeps items when memory is not enough; without it, or when the transform
            has parts that cannot be named (a lambda), the items are then read anew each time.
        budget_gb: memory that the cache may take, in GB (1e9 bytes); half of the free memory where ``None``. Processes
            that train together on this machine share it.

    Returns:
        ``CacheDataset``, :class:`DiskDataset` or plain ``Dataset``.
    """
    needed = estimate_bytes(data, transform)
    budget = psutil.virtual_memory().available // 2 if budget_gb is None else int(budget_gb * 1e9)
    budget //= local_process_count()
    place = "memory" if needed <= budget else f"disk ({cache_dir})" if cache_dir else "no cache"
    logger.info(f"cache: {len(data)} items, {needed / 1e6:.0f} MB, budget {budget / 1e6:.0f} MB: {place}")
    if needed <= budget:
        return CacheDataset(data, transform, num_workers=2, progress=False)
    if cache_dir:
        try:
            return DiskDataset(data, transform, cache_dir)
        except (TypeError, ValueError) as error:
            logger.warning(f"cache: none on disk, since a change of the transform would go unnoticed: {error}")
    return Dataset(data, transform)


def estimate_bytes(data: Sequence[Fields], transform: Callable[..., Any], samples: int = 20) -> int:
    """Bytes that all the transformed items take, judged from ``samples`` of them spread over ``data``."""
    if not data:
        return 0
    samples = min(samples, len(data))
    chosen = [data[i * len(data) // samples] for i in range(samples)]
    sizes = [
        value.numel() * value.element_size()
        for item in chosen
        for value in transform(item).values()
        if isinstance(value, torch.Tensor)
    ]
    return sum(sizes) * len(data) // samples


class DiskDataset(Dataset):
    """Transformed items, each kept in a file; made again when its images, the transform or the code have changed.

    An image has changed when its size or one of its times has. A file is named after item and transform, so that what
    is made again takes the place of what it was. Several processes may use one folder at once, and it may be removed
    at any time. When it takes no more (a full disk), that is logged once, and what is not in it is read anew each time.

    Args:
        data: items as :func:`delineate.pipelines.loading.load_datalist` gives them.
        transform: deterministic transforms that return tensors, text, numbers, and lists and dictionaries of them.
        cache_dir: folder of the files; made when needed.

    Raises:
        TypeError, ValueError: a part of the transform has no name or parameters to know it by, or is random.
    """

    def __init__(self, data: Sequence[Fields], transform: Callable[..., Any], cache_dir: str | Path) -> None:
        super().__init__(data, transform)
        self.folder = Path(cache_dir)
        self._recipe, self._code = _recipe(self.transform)
        self._takes_more = True
        with suppress(OSError):  # another process may tidy up, too
            remove_leftovers(self.folder)

    def _transform(self, index: int) -> Any:
        path, key = self._identify(self.data[index])
        item = _read(path, key)
        if item is None:
            item = self.transform(self.data[index])
            self._write(path, key, item)
        return item

    def _identify(self, item: Fields) -> tuple[Path, bytes]:
        """Where the item is kept, and a sum over all that it is made from."""
        text = json.dumps([self._recipe, item], sort_keys=True, default=os.fspath)
        name = hashlib.sha256(text.encode()).hexdigest()
        made_from = [name, self._code, [_state(path) for path in named_paths(item)]]
        return self.folder / name, hashlib.sha256(json.dumps(made_from).encode()).digest()

    def _write(self, path: Path, key: bytes, item: Any) -> None:
        if not self._takes_more:
            return
        try:
            body = _pack(item)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _seal(key, body) + body)
        except FileNotFoundError:
            pass  # the folder was tidied up or removed meanwhile; the next epoch writes it
        except TypeError as error:
            self._stop(f"{error}; let the transform give tensors, text and numbers")
        except OSError as error:
            self._stop(f"{error.strerror}; make room there, or set cache_dir to another folder")

    def _stop(self, why: str) -> None:
        self._takes_more = False
        logger.warning(f"cache: {self.folder} takes no more, the rest is read again each time: {why}")


def _read(path: Path, key: bytes) -> Any:
    """The item; ``None`` where it is missing, damaged, or made from something else."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(key):
        return None
    body = content[len(_seal(key, b"")) :]
    if not content.startswith(_seal(key, body)):
        logger.warning(f"cache: {path} is damaged; it is made again")
        return None
    return _unpack(body)


def _seal(key: bytes, body: bytes) -> bytes:
    """What an entry begins with."""
    return key + zlib.crc32(body).to_bytes(4, "big")


def _state(path: str) -> list[tuple[Any, ...]]:
    """Size and times of a file, with those that belong to a header, or of every file in a folder."""
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    if path.lower().endswith(_HEADERS):
        files = [str(file) for file in Path(path).parent.glob(f"{escape(Path(path).stem)}.*")]
    return [_stamp(file) for file in sorted(files or [path])]


def _stamp(file: str) -> tuple[Any, ...]:
    try:
        status = os.stat(file)
    except OSError:
        return (file,)  # the transform refuses it by name
    return file, status.st_size, status.st_mtime_ns, status.st_ctime_ns  # ctime: replaced by one as large and as old


def _pack(item: Any) -> bytes:
    """JSON, a line feed, the tensors' bytes; a JSON object is what JSON has no word for: ``{kind: parts}``."""
    pixels = bytearray()

    def plain(value: Any) -> Any:
        if isinstance(value, MetaTensor):
            operations = reset_ops_id(value.applied_operations)  # any transform of the class may invert them
            return {"MetaTensor": [plain(part) for part in (value.as_tensor(), value.meta, operations)]}
        if isinstance(value, torch.Tensor):
            array, start = value.numpy(), len(pixels)
            pixels.extend(array.tobytes())
            return {"Tensor": [array.dtype.str, array.shape, start]}
        if isinstance(value, dict):
            return {"dict": [[plain(name), plain(part)] for name, part in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [plain(part) for part in value]}
        if isinstance(value, list):
            return [plain(part) for part in value]
        if value is None or isinstance(value, str | int | float):
            return value
        raise TypeError(f"{type(value).__name__} {value!r:.40} cannot be kept")

    return json.dumps(plain(item)).encode() + b"\n" + pixels


def _unpack(body: bytes) -> Any:
    """What `_pack` was given: equal, and of the same types; applied operations without their transforms' ids."""
    end = body.index(b"\n")

    def tensor(dtype: str, shape: Sequence[int], start: int) -> torch.Tensor:
        array = np.frombuffer(body, dtype, math.prod(shape), end + 1 + start)
        return torch.from_numpy(array.reshape(shape).copy())

    def restore(value: dict[str, list[Any]]) -> Any:
        ((kind, parts),) = value.items()
        if kind == "Tensor":
            return tensor(*parts)
        if kind == "MetaTensor":
            return MetaTensor(parts[0], meta=parts[1], applied_operations=parts[2])
        return dict(parts) if kind == "dict" else tuple(parts)

    return json.loads(body[:end], object_hook=restore)


def _recipe(transform: Callable[..., Any]) -> tuple[str, str]:
    """What the transform does, in words that are the same in every process, and a sum over the code that does it.

    Objects are described as pickle would take them apart: by class and state.
    """
    modules: set[str] = set()

    def describe(value: Any) -> Any:
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            name = f"{value.__module__}.{value.__qualname__}"
            if "<" in name or value.__module__ == "__main__":
                raise TypeError(f"{name} may be another function the next time; define it in a module")
            modules.add(value.__module__)
            return name
        if type(value) is Compose:
            return [Compose, {name: part for name, part in vars(value).items() if name != "R"}]
        if isinstance(value, RandomizableTrait):
            raise TypeError(f"{type(value).__name__} is random")
        if isinstance(value, set | frozenset):
            return sorted(value, key=repr)
        if isinstance(value, bytes):
            return value.hex()
        return value.__reduce_ex__(2)

    return json.dumps(transform, default=describe, sort_keys=True), _code_of(modules)


def _code_of(modules: set[str]) -> str:
    """A sum over versions, the modules' sources and all of ours."""
    named = [getattr(sys.modules.get(module), "__file__", None) for module in modules]
    files = {Path(file) for file in named if file and file.endswith(".py")} | {*Path(__file__).parents[1].rglob("*.py")}
    sources = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    used = {name: version for name, version in versions().items() if name != "platform"}
    return hashlib.sha256(json.dumps([used, sources]).encode()).hexdigest()
