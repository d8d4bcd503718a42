"""`delineate bundle verify`: is this folder a bundle that one may load? Read and judged, never run.

Rules: files, code, syntax, target, expression, ids, metadata, weights, preprocessing. Nothing in a bundle is
imported, evaluated, unpickled or handed to MONAI here; torch and monai are not even loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import InputError, closest
from ..weight_sums import SUMS, sum_problems
from .config import MISSING, SEPARATOR, Config, ConfigError, look_up, macro_id, read_config, walk
from .expressions import expression_problem, is_expression, references
from .files import check_files, check_logging
from .findings import Finding
from .targets import arguments_problem, target_problem

__all__ = ["Finding", "verify_bundle"]

SCHEMA = "meta_schema_20240725.json"
METADATA = "configs/metadata.json"
TRAIN, EVALUATE, INFERENCE = "configs/train.yaml", "configs/evaluate.yaml", "configs/inference.yaml"
REQUIRED_FILES = (
    *("LICENSE", METADATA, TRAIN, EVALUATE, INFERENCE, "configs/logging.conf"),
    *("docs/README.md", "docs/data_license.txt"),
)
REQUIRED_IDS = {
    TRAIN: (
        *("bundle_root", "device", "dataset_dir", "network_def", "loss", "optimizer"),
        *(
            "train::trainer",
            "train::trainer::max_epochs",
            "train::dataset",
            "train::inferer",
            "train::handlers",
        ),
        *("validate::evaluator", "validate::dataset", "validate::inferer"),
    ),
    EVALUATE: ("bundle_root", "dataset_dir", "evaluator"),
    INFERENCE: (
        *("bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer"),
        *("preprocessing", "postprocessing"),
    ),
}
# ids that must be alike: in the first file as in the second
ALIKE = (
    *((TRAIN, EVALUATE, "preprocessing"), (TRAIN, INFERENCE, "preprocessing")),
    *((TRAIN, EVALUATE, "network_def"), (TRAIN, INFERENCE, "network_def")),
    (EVALUATE, INFERENCE, "inferer"),
)
_ADDRESS = re.compile(r"[a-z][a-z0-9+]*://", re.IGNORECASE)

Configs = Mapping[str, Config]


def verify_bundle(folder: Path) -> list[Finding]:
    """Check a bundle against every rule.

    Args:
        folder: the bundle's folder; a run is one too.

    Returns:
        The findings, in the order of files and lines; empty when the bundle passes.

    Raises:
        InputError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise InputError(folder, "not a folder", "name the folder of a bundle, which holds configs/")
    findings = [*check_files(folder), *check_logging(folder)]
    findings += [
        Finding(name, 1, "files", "missing; every bundle has it: add the file")
        for name in REQUIRED_FILES
        if not (folder / name).is_file()
    ]
    configs: dict[str, Config] = {}
    for name, path in _config_files(folder):
        try:
            configs[name] = read_config(path)
        except ConfigError as error:
            findings.append(Finding(name, error.line, "syntax", str(error)))
    for name, config in configs.items():
        findings += _check_values(name, config)
        if name != METADATA:
            findings += _check_ids(name, config, configs)
    findings += _check_weights(folder)
    try:
        findings += [*_check_metadata(configs), *_check_alike(configs)]
    except ConfigError as error:
        findings.append(Finding("configs", error.line, "syntax", str(error)))
    return sorted(set(findings))


def _config_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every YAML file, and the JSON files of configs/: MONAI reads both as configuration."""
    for path in sorted([*folder.rglob("*.yaml"), *(folder / "configs").rglob("*.json")]):
        relative = path.relative_to(folder)
        if relative.parts[0] != "cache" and path.is_file() and not path.is_symlink():
            yield relative.as_posix(), path


def _check_values(name: str, config: Config) -> Iterator[Finding]:
    """Rules target and expression, for every mapping, key and string of a file."""
    for id_, value in walk({"": config.data}):
        if isinstance(value, dict):
            for key, problem in _mapping_problems(value):
                yield Finding(name, config.line(f"{id_}{SEPARATOR}{key}" if id_ else key), "target", problem)
            for key in filter(is_expression, value):
                problem = f"the key {key!r} is an expression; use plain names as keys"
                yield Finding(name, config.line(id_), "expression", problem)
        elif isinstance(value, str):
            if refusal := _string_problem(value):
                yield Finding(name, config.line(id_), "expression", refusal)
            elif name != METADATA and _ADDRESS.match(value):
                problem = f"{value!r} is a network address; a bundle works offline: name a path"
                yield Finding(name, config.line(id_), "target", problem)


def _mapping_problems(value: dict[object, object]) -> Iterator[tuple[str, str]]:
    if "_target_" in value and (problem := target_problem(value["_target_"])):
        yield "_target_", problem
    yield from arguments_problem(value)


def _string_problem(value: str) -> str | None:
    if is_expression(value):
        problem = expression_problem(value)
        return f"{value[:200]}: {problem}" if problem else None
    if value.startswith("%") and macro_id(value) is None:
        return f"{value[:200]} reads another file; write the value here, or '%id'"
    return None


def _check_ids(name: str, config: Config, configs: Configs) -> Iterator[Finding]:
    """Rule ids: what consumers need is there, and what is referred to is in the same file."""
    known = _ids(config)
    for id_ in REQUIRED_IDS.get(name, ()):
        if id_ not in known:
            hint = closest(id_, known) or "add it: MONAI's tools and ours look for it"
            yield Finding(name, config.line(id_), "ids", f"has no id {id_!r}; {hint}")
    if name not in REQUIRED_IDS:  # an overlay, which is read after one of the three
        known = known.union(*(_ids(configs[main]) for main in REQUIRED_IDS if main in configs))
    for id_, value in walk(config.data):
        for wanted in _references(value):
            if wanted.startswith(SEPARATOR):
                problem = f"the relative id {value!r}; write the full id"
            elif wanted not in known:
                hint = closest(wanted, known) or "define it in this file, which stands alone"
                problem = f"refers to {wanted!r}, which is not in this file; {hint}"
            else:
                continue
            yield Finding(name, config.line(id_), "ids", problem)


def _references(value: Any) -> list[str]:
    if not isinstance(value, str):
        return []
    if value.startswith("%"):
        return [id_ for id_ in [macro_id(value)] if id_ is not None]
    return references(value)


def _ids(config: Config) -> set[str]:
    return {id_ for id_, _ in walk(config.expanded)}


def _check_metadata(configs: Configs) -> Iterator[Finding]:
    """Rule metadata: MONAI's schema, and inputs and outputs as the configuration has them."""
    import jsonschema

    config = configs.get(METADATA)
    if config is None:
        return
    schema = json.loads(resources.files("delineate.configs").joinpath(SCHEMA).read_text(encoding="utf-8"))
    for error in jsonschema.Draft201909Validator(schema).iter_errors(config.data):
        id_ = SEPARATOR.join(str(part) for part in error.absolute_path)
        message = f"{id_ or 'the file'}: {error.message[:200]}; see MONAI's metadata schema"
        yield Finding(METADATA, config.line(id_), "metadata", message)
    for id_, source, source_id in (
        ("inputs::image::num_channels", TRAIN, "network_def::in_channels"),
        ("outputs::pred::num_channels", TRAIN, "network_def::out_channels"),
        ("inputs::image::spatial_shape", INFERENCE, "image_size"),
    ):
        id_ = f"network_data_format::{id_}"
        said = look_up(config.data, id_)
        done = configs[source].resolved(source_id) if source in configs else MISSING
        if isinstance(done, int | list) and said != done:
            seen = "missing" if said is MISSING else repr(said)
            message = f"{id_} is {seen}, but {source_id} in {source} is {done!r}; write {done!r}"
            yield Finding(METADATA, config.line(id_), "metadata", message)


def _check_weights(folder: Path) -> Iterator[Finding]:
    models = folder / "models"
    if models.is_dir() and not models.is_symlink():
        for line, problem in sum_problems(models):
            yield Finding(f"models/{SUMS}", line, "weights", problem)


def _check_alike(configs: Configs) -> Iterator[Finding]:
    """Rule preprocessing: training, evaluation and inference see images alike, with the same network."""
    for first, second, id_ in ALIKE:
        if first not in configs or second not in configs:
            continue
        one, other = (configs[name].resolved(id_) for name in (first, second))
        if id_ == "inferer" and (one is MISSING or other is MISSING):
            continue
        if where := _difference(one, other, id_):
            message = f"{where} differs from {first}; make {id_} alike in both"
            yield Finding(second, configs[second].line(where), "preprocessing", message)


def _difference(one: Any, other: Any, id_: str) -> str:
    """Return the id where two values first differ, an empty string when they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if where := _difference(one.get(key, MISSING), other.get(key, MISSING), f"{id_}{SEPARATOR}{key}"):
                return where
        return ""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return next((w for i, (a, b) in pairs if (w := _difference(a, b, f"{id_}{SEPARATOR}{i}"))), "")
    return "" if type(one) is type(other) and (one is other or one == other) else id_
