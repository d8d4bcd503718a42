"""`delineate bundle verify`: is this folder a bundle that one may load? Read and judged, never run.

Rules: files, code, syntax, target, expression, path, size, ids, metadata, structures, weights, preprocessing. Nothing
in a bundle is imported, evaluated, unpickled or handed to MONAI here; torch and monai are not even loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ...core.errors import InputError, closest, printable
from ...core.sums import MUST_BE_LISTED, SUMS, sum_problems
from .config import MISSING, SEPARATOR, Config, ConfigError, first_difference, look_up, macro_id, read_config, walk
from .expressions import expression_problem, is_expression, references
from .files import check_files, check_logging
from .findings import Finding
from .limits import size_problems
from .listing import Entry, TooMuchError, list_entries, too_large
from .paths import path_problems, text_problem
from .structures import CHANNEL_DEF, channel_problem, structure_problems
from .targets import arguments_problem, target_problem
from .values import TooLargeError, Values

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
    *((TRAIN, EVALUATE, "structures"), (TRAIN, INFERENCE, "structures")),
    *((TRAIN, EVALUATE, "exclusive"), (TRAIN, INFERENCE, "exclusive")),
)
MAX_FINDINGS = 100
_MANY = 2000  # among more ids the closest is not looked for
MAX_CONFIGS, MAX_CONFIG_BYTES = 64, 256 << 10  # of all configuration files together
_KEY = re.compile(r"[\w .,/()+-]+", re.ASCII)
_KEY_TEXT = "letters, digits, spaces and _ . , / ( ) + -"
_FILE_KEY = re.compile(r"\.(json|ya?ml)", re.IGNORECASE)
_RELATIVE = re.compile(r"[@%](::|#)")  # MONAI pastes the names of the items around it in between
_ACTING = frozenset({"_target_", "_mode_", "_requires_", "_disabled_", "_meta_"})
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/?/", re.IGNORECASE)

Configs = Mapping[str, Config]


def verify_bundle(folder: Path, shipping: bool = True) -> list[Finding]:
    """Check a bundle against every rule.

    Args:
        folder: the bundle's folder; a run is one too.
        shipping: whether it is to be given away: then the cache of a training must not be in it.

    Returns:
        The findings, in the order of files and lines; empty when the bundle passes. After ``MAX_FINDINGS`` the search
        ends, and the last says so.

    Raises:
        InputError: `folder` is not a folder.
    """
    if not folder.is_dir():
        raise InputError(printable(folder), "not a folder", "name the folder of a bundle, which holds configs/")
    try:
        entries = list_entries(folder)
    except (TooMuchError, OSError) as error:
        return [Finding(".", 1, "files", f"the folder cannot be judged: {error}")]
    findings = set(islice(_findings(folder, entries, shipping), MAX_FINDINGS + 1))
    ordered = sorted(findings)
    if len(ordered) > MAX_FINDINGS:
        ordered[MAX_FINDINGS:] = [Finding("...", 1, "files", f"more than {MAX_FINDINGS} findings; no more are listed")]
    return ordered


def _findings(folder: Path, entries: list[Entry], shipping: bool) -> Iterator[Finding]:
    yield from check_files(entries, shipping)
    yield from check_logging(entries)
    there = {entry.name for entry in entries if entry.kind == "file"}
    for name in REQUIRED_FILES:
        if name not in there:
            yield Finding(name, 1, "files", "missing; every bundle has it: add the file")
    configs: dict[str, Config] = {}
    for entry in _config_files(entries):
        if isinstance(entry, Finding):
            yield entry
            continue
        try:
            configs[entry.name] = read_config(entry.path)
        except ConfigError as error:
            yield Finding(entry.name, error.line, "syntax", str(error))
    for name, config in configs.items():
        yield from _check_keys(name, config)
        if name == METADATA:
            yield from _check_plain(name, config)
            continue
        yield from _check_values(name, config, _known_to(name, config, configs))
        yield from _check_ids(name, config, configs)
    yield from _check_weights(folder, entries, shipping)
    try:
        yield from chain(_check_metadata(configs), _check_structures(configs), _check_alike(configs))
    except ConfigError as error:
        yield Finding("configs", error.line, "syntax", str(error))


def _config_files(entries: Sequence[Entry]) -> Iterator[Entry | Finding]:
    """Every YAML file, and the JSON files of configs/: MONAI reads both as configuration."""
    chosen = [
        entry
        for entry in entries
        if entry.kind == "file"
        and (entry.is_like("*.yaml") or (entry.name.startswith("configs/") and entry.is_like("*.json")))
        and not too_large(entry)  # check_files says so
    ]
    total = 0
    for count, entry in enumerate(chosen):
        total += entry.size
        if count >= MAX_CONFIGS or total > MAX_CONFIG_BYTES:
            problem = f"more than {MAX_CONFIGS} configuration files or {MAX_CONFIG_BYTES} bytes of them; remove some"
            yield Finding(entry.name, 1, "files", problem)
            return
        yield entry


def _check_keys(name: str, config: Config) -> Iterator[Finding]:
    """Keys are names: MONAI pastes them into ids, where a sign would get another meaning than here."""
    for id_, value in walk({"": config.data}):
        for key in value if isinstance(value, dict) else ():
            line = config.line(f"{id_}{SEPARATOR}{key}" if id_ else str(key))
            if is_expression(key):
                yield Finding(name, line, "expression", f"the key {key!r} is an expression; use plain names as keys")
            elif not _KEY.fullmatch(str(key)):
                yield Finding(name, line, "ids", f"the key {str(key)[:200]!r} is no plain name; use {_KEY_TEXT}")
            elif _FILE_KEY.search(str(key)):
                yield Finding(name, line, "ids", f"the key {key!r} names a file, which MONAI would read; rename it")
            elif key == "_meta_":
                yield Finding(name, line, "ids", "the id '_meta_' is where MONAI keeps the metadata; rename it")


def _check_plain(name: str, config: Config) -> Iterator[Finding]:
    """The metadata are data: MONAI reads them into the same configuration as the workflow, where signs would act."""
    for id_, value in walk(config.data):
        if id_.rpartition(SEPARATOR)[2] in _ACTING:
            yield Finding(name, config.line(id_), "target", f"{id_} would be instantiated; metadata are plain data")
        if isinstance(value, str) and (value.startswith(("$", "%", "@")) or _RELATIVE.search(value)):
            problem = f"{value[:200]!r} would be resolved as an expression or reference; metadata are plain text"
            yield Finding(name, config.line(id_), "expression", problem)


def _known_to(name: str, config: Config, configs: Configs) -> dict[str, Any]:
    """All that a file may refer to: an overlay is read after one of the three."""
    if name in REQUIRED_IDS:
        return config.expanded
    return {
        **{id_: v for main in REQUIRED_IDS if main in configs for id_, v in configs[main].expanded.items()},
        **config.expanded,
    }


def _check_values(name: str, config: Config, known: dict[str, Any]) -> Iterator[Finding]:
    """Rules target, expression, path and size, for every mapping, key and string of a file."""
    values = Values(known)
    for id_, value in walk({"": config.data}):
        if isinstance(value, dict):
            for rule, (key, problem) in _mapping_problems(value, known, values, top=not id_):
                yield Finding(name, config.line(f"{id_}{SEPARATOR}{key}" if id_ else key), rule, problem)
        if not isinstance(value, str):
            continue
        try:
            values.of(value)
        except TooLargeError as error:
            yield Finding(name, config.line(id_), "size", f"{value[:200]}: {error}")
        if refusal := _string_problem(value):
            yield Finding(name, config.line(id_), "expression", refusal)
        elif id_.endswith("_desc_"):
            continue  # prose, unless it is an expression
        elif _ADDRESS.search(value):
            problem = f"{value[:200]!r} is a network address; a bundle works offline: name a path"
            yield Finding(name, config.line(id_), "target", problem)
        elif refusal := text_problem(value, known):
            yield Finding(name, config.line(id_), "path", f"{value[:200]!r} {refusal}")


def _mapping_problems(
    value: dict[object, object], known: dict[str, Any], values: Values, top: bool
) -> Iterator[tuple[str, tuple[str, str]]]:
    if "_target_" in value and (problem := target_problem(value["_target_"])):
        yield "target", ("_target_", problem)
    yield from (("target", each) for each in arguments_problem(value))
    yield from (("path", each) for each in path_problems(value, known, top))
    yield from (("size", each) for each in size_problems(value, values))


def _string_problem(value: str) -> str | None:
    if _RELATIVE.search(value):
        return f"{value[:200]!r} holds a relative id ('@::' or '%::'); write the full id"
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
            hint = (closest(id_, known) if len(known) < _MANY else "") or "add it: MONAI's tools and ours look for it"
            yield Finding(name, config.line(id_), "ids", f"has no id {id_!r}; {hint}")
    if name not in REQUIRED_IDS:  # an overlay, which is read after one of the three
        known = known.union(*(_ids(configs[main]) for main in REQUIRED_IDS if main in configs))
    for id_, value in walk(config.data):
        for wanted in _references(value):
            if wanted in known or wanted.startswith(SEPARATOR):
                continue
            hint = closest(wanted, known) if len(known) < _MANY else ""
            problem = f"refers to {wanted[:200]!r}, which is not in this file; "
            problem += hint or "define it in this file, which stands alone"
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
    errors = jsonschema.Draft201909Validator(schema).iter_errors(config.data)
    for error in islice(errors, MAX_FINDINGS):
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


def _check_structures(configs: Configs) -> Iterator[Finding]:
    for name in REQUIRED_IDS:
        for id_, problem in structure_problems(configs[name]) if name in configs else ():
            yield Finding(name, configs[name].line(id_), "structures", problem)
    metadata, inference = configs.get(METADATA), configs.get(INFERENCE)
    if metadata and inference and (wrong := channel_problem(metadata, inference)):
        yield Finding(METADATA, metadata.line(CHANNEL_DEF), "structures", wrong)


def _check_weights(folder: Path, entries: Sequence[Entry], shipping: bool) -> Iterator[Finding]:
    inside = [entry for entry in entries if entry.name == "models" or entry.name.startswith("models/")]
    if any(entry.kind in ("link", "other") or too_large(entry) for entry in inside):
        return  # check_files says so
    models = folder / "models"
    if inside and models.is_dir():
        must = MUST_BE_LISTED if shipping else ("*.pt",)  # nothing here loads an export
        for line, problem in sum_problems(models, must=must):
            yield Finding(f"models/{SUMS}", line, "weights", problem)


def _check_alike(configs: Configs) -> Iterator[Finding]:
    """Rule preprocessing: training, evaluation and inference see images alike, with the same network."""
    for first, second, id_ in ALIKE:
        if first not in configs or second not in configs:
            continue
        one, other = (configs[name].resolved(id_) for name in (first, second))
        if id_ == "inferer" and (one is MISSING or other is MISSING):
            continue
        if where := first_difference(one, other, id_):
            message = f"{where} differs from {first}; make {id_} alike in both"
            yield Finding(second, configs[second].line(where), "preprocessing", message)
