"""Several runs put together as one bundle: the mean of their probabilities, by ``delineate.networks.Ensemble``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ...networks import Ensemble
from ..core.errors import DelineateError, printable
from ..core.files import write_atomically
from ..core.sums import write_sums
from ..datasets.seen import SEEN, read_seen, write_seen
from ..imaging.structures import structures_of, thresholds_of
from .bundles import MULTI_GPU, change_bundle, change_workflow, copy_bundle, members_of, refuse_occupied
from .familiarity import Familiarity, write_familiarity
from .gate import Admission, Bundle, admit
from .verify.config import MISSING, SEPARATOR, Config, first_difference, look_up, read_config, walk
from .verify.expressions import references
from .weights import load_network

_ALIKE = (
    *("channels", "in_channels", "structures", "exclusive", "out_channels", "slicing", "image_size", "window"),
    *("flip_left_right", "upright", "precision", "tta"),
    *("to_grid", "to_network", "preprocessing", "inferer", "postprocessing"),
)
"""Ids of ``inference.yaml`` that all members must have alike, those that a person knows first."""
_RECORDED = ("started", "settings", "items", "data_hash", "versions", "commit", "epochs", "best")
"""What is kept of a member's last session; the rest is about the machine that trained it."""
_NOTE = """
**An ensemble** of {count} networks: the probability of a pixel is the mean of theirs. `configs/metadata.json` names
them under `members`, with their hashes and what they were trained on. An ensemble is not trained: train its members,
and put them together again.
"""


def make_ensemble(
    runs: Sequence[Bundle],
    out: str | Path,
    *,
    names: Sequence[str] | None = None,
    threshold: float | Mapping[str, float] | None = None,
    trust: bool = False,
) -> Path:
    """Put runs together as a bundle, whose probabilities are the mean of theirs.

    The networks may differ in architecture. The bundle holds all weights, and needs none of the runs.

    Args:
        runs: folders of two or more runs or bundles with weights; the first one's configuration is taken.
        out: the folder to make, new or empty.
        names: what the metadata call the members; the names of their folders where ``None``.
        threshold: of the probabilities, 0-1, of all structures or by name; where ``None`` the runs' own, which must
            be alike.
        trust: take runs although verification has findings; the ensemble is then not verified either.

    Returns:
        the folder.

    Raises:
        UnverifiedError: a run is no part of the package, and verification has findings.
        DelineateError: the runs prepare images differently, or a run cannot be a member; nothing is made then.
    """
    out = Path(out)
    refuse_occupied(out)
    members = [admit(run, trust) for run in runs]
    _refuse_unfit(members)
    configs = [read_config(member.folder / "configs" / "inference.yaml") for member in members]
    for place in range(1, len(members)):
        _refuse_unlike([members[0], members[place]], [configs[0], configs[place]], threshold is None)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".ensemble.", dir=out.parent) as temporary:
        draft = Path(temporary) / out.name
        copy_bundle(members[0].folder, draft)
        change_bundle(draft, _network(configs) | ({} if threshold is None else {"threshold": threshold}))
        change_workflow(draft, "train", _without_training)
        (draft / "configs" / MULTI_GPU).unlink(missing_ok=True)
        _describe(draft, members, configs, names or [member.folder.resolve().name for member in members])
        _write_weights(draft, members)
        write_seen(draft / SEEN, (one for member in members for one in read_seen(member.folder / SEEN)))
        admit(draft, trust=any(member.trusted for member in members))
        if out.is_dir():
            out.rmdir()
        draft.rename(out)
    return out


def refuse_training() -> None:
    """The first step of an ensemble's training.

    Raises:
        DelineateError: always.
    """
    raise DelineateError(
        "an ensemble is not trained: train its members, each as a run of its own, then put them together: "
        "delineate bundle ensemble OUT RUN RUN ..."
    )


def _refuse_unfit(members: Sequence[Admission]) -> None:
    """See that each may be a member, and is one once."""
    if len(members) < 2:
        raise DelineateError(f"an ensemble has two members or more, and {len(members)} is named; name other runs, too")
    known: dict[str, Path] = {}
    for member in members:
        if member.hash in known:
            same = "named twice" if known[member.hash] == member.folder else f"the same as {known[member.hash]}"
            raise DelineateError(f"{printable(member.folder)} is {same}, and would count double; name each run once")
        known[member.hash] = member.folder
        if inside := members_of(member.folder):
            raise DelineateError(
                f"{printable(member.folder)} is an ensemble itself; name its members instead: "
                + ", ".join(one["name"] for one in inside)
            )


def _refuse_unlike(members: Sequence[Admission], configs: Sequence[Config], thresholds: bool) -> None:
    """See that two members get the same image and, unless a threshold is chosen, have the same ones."""
    one, other = plain = [_without_thresholds(config) for config in configs]
    unlike = [where for id_ in _ALIKE if (where := first_difference(one.resolved(id_), other.resolved(id_), id_))]
    if unlike:
        seen, remedy = [_at(config, unlike[0]) for config in plain], "put only runs together that prepare images alike"
        if MISSING in seen:
            remedy += ", or bring the older one up to date: delineate bundle update FOLDER"
    elif thresholds and len(set(seen := [_thresholds(config) for config in configs])) > 1:
        remedy = "choose one for the ensemble with --threshold (threshold= in Python)"
    else:
        return
    values = [f"{_quoted(value)} in {printable(member.folder)}" for value, member in zip(seen, members, strict=True)]
    raise DelineateError(f"{unlike[0] if unlike else 'threshold'} is {' and '.join(values)}; {remedy}")


def _at(config: Config, id_: str) -> Any:
    """The value at an id, found behind references, too."""
    root = id_.partition(SEPARATOR)[0]
    return look_up({root: config.resolved(root)}, id_)


def _without_thresholds(config: Config) -> Config:
    """The same, where thresholds are no difference."""
    structures = config.resolved("structures")
    if isinstance(structures, list):
        structures = [{key: each[key] for key in each if key != "threshold"} for each in structures]
    data = {key: value for key, value in config.expanded.items() if key != "threshold"}
    return Config(data, data | ({} if structures is MISSING else {"structures": structures}), config.lines)


def _thresholds(config: Config) -> tuple[tuple[str, float], ...]:
    found, exclusive, threshold = (config.resolved(id_) for id_ in ("structures", "exclusive", "threshold"))
    structures = structures_of(None if found is MISSING else found)
    used = thresholds_of(structures, None if threshold is MISSING else threshold, exclusive is True)
    return tuple(zip((one.name for one in structures) if structures else [""], used, strict=True))


def _quoted(value: Any) -> str:
    if isinstance(value, tuple):  # thresholds
        return ", ".join(f"{number:.10g} of {name}" if len(value) > 1 else f"{number:.10g}" for name, number in value)
    return "missing" if value is MISSING else repr(value)[:100]


def _network(configs: Sequence[Config]) -> dict[str, Any]:
    """The ensemble's ``network_def``: those of the members, which refer to nothing that the first has not alike."""
    definitions = [look_up(config.expanded, "network_def") for config in configs]
    for place, (config, definition) in enumerate(zip(configs, definitions, strict=True), start=1):
        texts = [value for _, value in walk(definition) if isinstance(value, str)]
        for id_ in dict.fromkeys(id_ for text in texts for id_ in references(text)):
            mine, others = config.resolved(id_), configs[0].resolved(id_)
            if first_difference(others, mine, id_):
                raise DelineateError(
                    f"network_def of member {place} refers to {id_}, which is {_quoted(mine)} there and "
                    f"{_quoted(others)} in the first; write the value itself into its network_def"
                )
    exclusive = {} if configs[0].resolved("exclusive") is MISSING else {"exclusive": "@exclusive"}
    return {"network_def": {"_target_": "delineate.networks.Ensemble", **exclusive, "members": definitions}}


def _without_training(workflow: Any) -> None:
    steps = workflow.setdefault("initialize", [])
    steps.insert(0, {"_target_": "delineate.pipelines.bundling.refuse_training"})


def _describe(draft: Path, members: Sequence[Admission], configs: Sequence[Config], names: Sequence[str]) -> None:
    """Name the members in the metadata, and say in the documents what this is."""
    path = draft / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["name"] = f"{metadata.get('name', draft.name)}, ensemble of {len(members)}"
    metadata["members"] = [
        {
            "name": printable(name),
            "hash": member.hash,
            "network": str(look_up(config.expanded, "network_def::_target_")),
            **({"trusted": True} if member.trusted else {}),
            "record": _record(member.folder / "logs" / "record.json"),
        }
        for name, member, config in zip(names, members, configs, strict=True)
    ]
    write_atomically(path, (json.dumps(metadata, indent=4) + "\n").encode())
    readme = draft / "docs" / "README.md"
    title, *rest = readme.read_text(encoding="utf-8").splitlines(keepends=True)
    write_atomically(readme, "".join([title, _NOTE.format(count=len(members)), *rest]).encode())


def _record(path: Path) -> dict[str, Any] | None:
    """What a run says of its training; ``None`` where there is nothing that can be read."""
    try:
        session = json.loads(path.read_text(encoding="utf-8"))["sessions"][-1]
        return {key: session[key] for key in _RECORDED if key in session}
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write_weights(draft: Path, members: Sequence[Admission]) -> None:
    networks = [load_network(member.folder) for member in members]
    ensemble = Ensemble(networks)
    (draft / "models").mkdir()
    with (draft / "models" / "model.pt").open("wb") as file:  # a path's name would be in the file, and in its hash
        torch.save(ensemble.state_dict(), file)
    write_sums(draft / "models", ["model.pt"])
    known: list[Sequence[Familiarity]] = [getattr(network, "familiarity", ()) for network in networks]
    if all(known):
        write_familiarity(draft / "models", [each[0] for each in known])
