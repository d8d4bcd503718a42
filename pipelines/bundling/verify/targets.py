"""Which `_target_` a bundle may name, and which arguments must not appear; nothing is imported to find out.

A prefix is no boundary: `monai.data.utils.pickle.loads` begins like a good name. A target is allowed when it
is a public class that a package below exports under exactly that name, or one of a few listed functions.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from ...core.errors import closest

# packages whose exported classes are allowed; where they are exported in another file, that file
_PACKAGES = {
    "monai.transforms": "",
    "monai.data": "",
    "monai.networks.nets": "",
    "monai.networks.blocks": "",
    "monai.networks.layers": "",
    "monai.losses": "",
    "monai.metrics": "",
    "monai.handlers": "",
    "monai.engines": "",
    "monai.inferers": "",
    "monai.optimizers": "",
    "torch.nn": "torch.nn.modules",
    "torch.optim": "",
    "torch.optim.lr_scheduler": "",
    "ignite.metrics": "",
}
_NAMES = frozenset(
    {
        "monai.data.decollate_batch",
        "monai.data.list_data_collate",
        "monai.data.load_decathlon_datalist",
        "monai.data.pad_list_data_collate",
        "monai.data.partition_dataset",
        "monai.data.select_cross_validation_folds",
        "monai.engines.default_prepare_batch",
        "monai.handlers.from_engine",
        "monai.handlers.ignore_data",
        "monai.handlers.stopping_fn_from_loss",
        "monai.handlers.stopping_fn_from_metric",
        "monai.utils.set_determinism",
        "torch.device",
        "torch.utils.tensorboard.SummaryWriter",
    }
    | {
        f"torch.utils.data.{name}"
        for name in (
            *("BatchSampler", "ConcatDataset", "DataLoader", "DistributedSampler", "RandomSampler"),
            *("SequentialSampler", "Subset", "SubsetRandomSampler", "TensorDataset", "WeightedRandomSampler"),
        )
    }
    | {
        f"ignite.handlers.{name}"
        for name in (
            *("BasicTimeProfiler", "Checkpoint", "ConcatScheduler", "CosineAnnealingScheduler", "DiskSaver"),
            *("EarlyStopping", "EMAHandler", "LinearCyclicalScheduler", "LRScheduler", "ModelCheckpoint"),
            *("ParamGroupScheduler", "PiecewiseLinear", "ProgressBar", "ReduceLROnPlateauScheduler"),
            *("TensorboardLogger", "TerminateOnNan", "TimeLimit", "Timer"),
            *("create_lr_scheduler_with_warmup", "global_step_from_engine"),
        )
    }
)
# our own packages; what they export is what bundles may name
_OWN = (
    *("networks", "networks.monai"),
    *(f"pipelines.{name}" for name in ("audit", "bundling", "core", "evaluation", "inference", "loading", "training")),
)

_DENIED = {
    "*.*Lambda*": "it runs a function given to it",
    "*.*TorchVision*": "it fetches a class or weights by name from outside the allowed packages",
    "*.*TorchIO*": "it fetches a class by name from outside the allowed packages",
    "*.*CuCIM*": "it fetches a function by name from outside the allowed packages",
    "*.FlexUNetEncoderRegister": "it fetches a class by name",
    "*.LMDBDataset": "it keeps pickles",
    **dict.fromkeys(
        (
            *(
                "*.PersistentDataset",
                "*.CacheNTransDataset",
                "*.GDSDataset",
                "*.NPZDictItemDataset",
                "*.LearningRateFinder",
            ),
            *("*.CSV*Dataset", "*.CSVSaver", "*.ImageDataset", "*.FolderLayout*", "*.WriteFileMapping*", "*.WSI*"),
            *("*.*WSIDataset", "*.*WSIReader", "*.*WSISlidingWindowSplitter", "*.SaveClassification*"),
            *(
                "*.LogfileHandler",
                "*.ClassificationSaver",
                "*.ProbMapProducer",
                "*.CheckpointLoader",
                "*.*Saver*.Disk*",
            ),
            *("ignite.handlers.Checkpoint", "ignite.handlers.ModelCheckpoint", "ignite.handlers.DiskSaver"),
            *("ignite.handlers.TensorboardLogger", "ignite.handlers.BasicTimeProfiler", "*.DatasetFunc"),
            *("monai.data.*Writer", "monai.data.DatasetSummary", "monai.data.ThreadContainer", "torch.nn.DataParallel"),
        ),
        "it reads, writes or deletes files of any name",
    ),
    "*.*PerceptualLoss": "it downloads weights",
    "*.TextEncoder": "it downloads weights",
    "*.Transchex": "it downloads weights",
    "*.ClearML*": "it sends data over the network",
    "*.MLFlow*": "it sends data over the network",
    "*.TrtHandler": "it builds and loads binary engines",
    "ignite.metrics.BatchFiltered": "it runs a function given to it",
    "ignite.metrics.FID": "it downloads weights",
    "ignite.metrics.InceptionScore": "it downloads weights",
}
_PRETRAINED_BY_DEFAULT = frozenset(
    f"monai.networks.{name}"
    for name in (
        *("nets.EfficientNetBN", "nets.EfficientNetBNFeatures", "nets.EfficientNetEncoder", "nets.MILModel"),
        *("nets.ResNetFeatures", "nets.ResNetEncoder"),
        *("blocks.FCN", "blocks.MCFCN", "blocks.TextEncoder"),
    )
)
_FREE_KEYS = frozenset({"_target_", "_mode_", "_requires_", "_disabled_", "_desc_"})
_MODES = ("default", "callable")
# names that MONAI would import from anywhere when they carry dots
_LOCATED = {
    "reader": ("PILReader", "NibabelReader", "ITKReader", "NumpyReader", "NrrdReader", "PydicomReader"),
    "writer": ("PILWriter", "NibabelWriter", "ITKWriter"),
    "merger_cls": ("AvgMerger", "ZarrAvgMerger"),
}


def target_problem(target: object) -> str | None:
    """Check the value of one ``_target_``.

    Returns:
        None when it is allowed, otherwise what is wrong and, after a semicolon, the closest allowed name.
    """
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_][\w.]*", target, re.ASCII):
        return f"{target!r} is not a plain name; write the full dotted name of an allowed class"
    if target in allowed_targets() or _is_absent(target):
        return None
    reason = next((why for pattern, why in _DENIED.items() if fnmatchcase(target, pattern)), None)
    if reason and _package(target) in _PACKAGES:
        return f"{target} is refused: {reason}; use another class, or do its work before the bundle is built"
    return f"{target} is not an allowed target; {_suggestion(target)}"


def _is_absent(target: str) -> bool:
    """Whether it may be of a package that is not installed: nothing can be made of it here, and nothing is."""
    package, _, name = target.rpartition(".")
    there = package in _PACKAGES and importlib.util.find_spec(package.partition(".")[0]) is not None
    denied = any(fnmatchcase(target, pattern) for pattern in _DENIED)
    return package in _PACKAGES and not there and name[:1].isupper() and not denied


def _is_ours(component: Mapping[object, object], name: str, value: object) -> bool:
    """Whether it is our own ``pretrained``, which downloads nothing."""
    ours = component.get("_target_") in (None, "delineate.pipelines.training.with_pretrained")
    return ours and name == "pretrained" and value in ("imagenet", "@pretrained")


def arguments_problem(component: Mapping[object, object]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for entries of a mapping that would import, unpickle, download or debug."""
    for key, value in component.items():
        name = str(key)
        if name.startswith("_") and name not in _FREE_KEYS:
            yield (
                name,
                f"the key {name!r} is not allowed; with an underscore: {', '.join(sorted(_FREE_KEYS))}",
            )
        elif name == "_mode_" and value not in _MODES:
            yield name, f"_mode_ {value!r} is not allowed; write default or callable, or leave it out"
        elif name in _LOCATED and not _is_located(value, _LOCATED[name]):
            yield name, f"{name} {value!r} may import anything; write one of {', '.join(_LOCATED[name])}"
        elif name.startswith("pretrained") and value not in (False, None) and not _is_ours(component, name, value):
            yield name, f"{name} {value!r} fetches weights; write false and ship the weights in models/"
        elif name == "weights_only" and value is not True:
            yield name, f"weights_only {value!r} would unpickle anything; write true or leave it out"
        elif name == "allow_pickle" and value is not False:
            yield name, f"allow_pickle {value!r} would unpickle anything; write false or leave it out"
    target = component.get("_target_")
    if isinstance(target, str) and target in _PRETRAINED_BY_DEFAULT and "pretrained" not in component:
        yield "_target_", f"{target} downloads weights by default; add pretrained: false"


@lru_cache(maxsize=1)
def allowed_targets() -> frozenset[str]:
    """Return every allowed ``_target_``, read from the installed packages' sources."""
    names = set(_NAMES)
    for package, exporter in _PACKAGES.items():
        names.update(f"{package}.{name}" for name in _exports(_source(exporter or package)) if name[0].isupper())
    names = {name for name in names if not any(fnmatchcase(name, pattern) for pattern in _DENIED)}
    return frozenset(names | set(own_targets()))


def own_packages() -> dict[str, Path]:
    """The files that export what bundles may name of ours, by package."""
    root = Path(__file__).parents[3]
    return {f"delineate.{name}": root.joinpath(*name.split("."), "__init__.py") for name in _OWN}


def own_targets() -> Iterator[str]:
    """Yield what our own packages export: their public names, which outlive a module that is moved."""
    for package, path in own_packages().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = (node for node in ast.walk(tree) if isinstance(node, ast.List))  # __all__, or what attach() is given
        names = (each.value for one in lists for each in one.elts if isinstance(each, ast.Constant))
        yield from (f"{package}.{name!s}" for name in names)


def _source(package: str) -> Path | None:
    """Return the source file of an installed module, without importing it."""
    top, *rest = package.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return None
    base = Path(next(iter(spec.submodule_search_locations))).joinpath(*rest)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _exports(path: Path | None) -> set[str]:
    """Return the names that a module defines, lists in ``__all__`` or imports from its own package."""
    if path is None or not path.is_file():
        return set()
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and path.name == "__init__.py" and _is_own_import(node):
            names.update(alias.asname or alias.name for alias in node.names if alias.name != "*")
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names.update(n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return names


def _is_own_import(node: ast.ImportFrom) -> bool:
    return node.level > 0 or (node.module or "").startswith(("ignite.metrics.", "torch.optim.", "torch.nn.modules."))


def _is_located(value: object, known: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return all(_is_located(item, known) for item in value)
    return value is None or isinstance(value, dict) or (isinstance(value, str) and value in known)


def _package(target: str) -> str:
    return target.rpartition(".")[0]


def _suggestion(target: str) -> str:
    name = target.rpartition(".")[2]
    same = sorted(known for known in allowed_targets() if known.endswith(f".{name}"))
    if target.startswith("delineate.") and same and same[0].startswith("delineate."):
        return f"it is called {same[0]!r} now; delineate bundle update FOLDER renames all that have moved"
    if same:
        return f"did you mean {same[0]!r}"
    if target.partition(".")[0] not in ("delineate", "ignite", "monai", "torch"):
        return (
            "a bundle holds no code and brings none of other packages: name one that 'delineate networks' lists; "
            "if the code is your own, use the bundle with --trust, or have the network added to Delineate"
        )
    return (
        closest(target, allowed_targets()) or "allowed are classes of monai, torch.nn, torch.optim, ignite, delineate"
    )
