"""Whether what a configuration names is there: looked at when a node starts, not when its state is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...bundling.bundles import shipped_bundles
from ...bundling.gate import UnverifiedError, admit
from ...bundling.settings import refuse_unknown, refuse_wrong_values, workflow_config
from ...bundling.workflow import refuse_decided
from ...core.errors import DelineateError, counted, printable
from ...core.files import refuse_unwritable
from ...imaging.objects import refuse_missing
from .config import file_of, read_config
from .errors import ConfigurationError

if TYPE_CHECKING:
    from .config import NodeConfig, Rule

_DECIDED = dict.fromkeys(("bundle_root", "dataset_dir", "output_dir", "formats", "seg_type", "overlay", "probability"))


def read_usable(path: str | Path) -> NodeConfig:
    """Read the configuration of a node, and see that it can do what that says.

    Raises:
        ConfigurationError: it is not in order, or what it names is not there or cannot be used.
    """
    config = read_config(path)
    refuse_unusable(config, file_of(path))
    return config


def refuse_unusable(config: NodeConfig, file: str | Path) -> None:
    """See that a node can do what its configuration says.

    Args:
        config: of the node.
        file: that it was read from.

    Raises:
        ConfigurationError: a bundle, a file or a folder is not there or cannot be used; in one line, with file and key.
    """
    if problems := [f"{key}: {problem}" for key, problem in _problems(config)]:
        raise ConfigurationError(file, *problems)


def _problems(config: NodeConfig) -> Iterator[tuple[str, str]]:
    if not config.callers and not config.watch:
        yield "callers", "nobody may call and no folder is watched; name a caller, or a folder in watch"
    yield from _refusal("folder", lambda: refuse_unwritable(config.folder))
    for number, folder in enumerate(config.watch):
        yield from _of_watched(config, f"watch[{number}]", folder)
    for key, path in _files(config):
        if not path.is_file():
            yield key, f"{_shown(path)} is no file; correct the path"
    if config.rules:
        yield from _refusal("rules", refuse_missing)
    for number, rule in enumerate(config.rules):
        yield from _of_rule(f"rules[{number}]", rule)


def _shown(path: str | Path) -> str:
    """A path without its detours; a mere name stays one."""
    return printable(Path(path).resolve() if Path(path).is_absolute() else path)


def _refusal(key: str, check: Callable[[], None]) -> Iterator[tuple[str, str]]:
    try:
        check()
    except DelineateError as error:
        yield key, " ".join(str(error).split())


def _of_watched(config: NodeConfig, key: str, folder: Path) -> Iterator[tuple[str, str]]:
    if not folder.is_dir():
        yield key, f"{_shown(folder)} is no folder; make it, or correct the path"
    own, watched = config.folder.resolve(), folder.resolve()
    if own.is_relative_to(watched) or watched.is_relative_to(own):
        yield key, f"{printable(folder)} and the node's own folder, {printable(own)}, lie in one another; watch another"


def _files(config: NodeConfig) -> Iterator[tuple[str, Path]]:
    """The files that are named, with their keys."""
    places = [("tls", config.tls)] + [
        (f"destinations[{n}].tls", each.tls) for n, each in enumerate(config.destinations)
    ]
    for place, tls in places:
        for name in ("certificate", "key", "ca"):
            if tls is not None and (path := getattr(tls, name)) is not None:
                yield f"{place}.{name}", path
    for number, destination in enumerate(config.destinations):
        if path := getattr(destination, "token_file", None):
            yield f"destinations[{number}].token_file", path


def _of_rule(key: str, rule: Rule) -> Iterator[tuple[str, str]]:
    if not Path(rule.bundle).is_dir() and rule.bundle not in shipped_bundles():
        yield f"{key}.bundle", f"{_shown(rule.bundle)} is no folder; name the folder of a run that was trained"
        return
    try:
        folder = admit(rule.bundle, rule.trust).folder
    except UnverifiedError as error:
        found = f"{counted(len(error.findings), 'finding')}, e.g. {error.findings[0]}"
        yield f"{key}.bundle", f"verification has {found}; 'delineate bundle verify {printable(rule.bundle)}' lists all"
    except DelineateError as error:
        yield f"{key}.bundle", " ".join(str(error).split())
    else:
        if not (folder / "models" / "model.pt").is_file():
            yield f"{key}.bundle", f"{printable(folder)} has no weights (models/model.pt); name a run that was trained"
        yield from _refusal(f"{key}.settings", lambda: _refuse_settings(folder, rule.settings))


def _refuse_settings(folder: Path, settings: dict[str, Any]) -> None:
    refuse_decided(settings, _DECIDED)
    workflow = workflow_config(folder, "inference")
    refuse_unknown(folder, workflow, "inference", settings.keys() - {"backend"})  # older bundles take it, too
    refuse_wrong_values(workflow | settings)
