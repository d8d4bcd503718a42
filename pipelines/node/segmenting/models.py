"""What the rules segment with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ...bundling.gate import Admission, admit, fingerprint
from ...core.errors import printable
from ...core.versions import own_version
from ..configuration.config import NodeConfig, Rule

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Model:
    """What a rule segments with.

    Attributes:
        rule: whose it is.
        bundle: as it was let in when the node started.
        stamp: of the bundle's files, by which a change is noticed.
    """

    rule: Rule
    bundle: Admission
    stamp: Stamp = field(repr=False)

    @property
    def name(self) -> str:
        """The bundle's hash, and one of all else that decides what comes out and where it goes."""
        rule = self.rule
        facts = [rule.name, rule.settings, rule.formats, rule.seg_type, rule.send_to, own_version()]
        digest = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        return f"{self.bundle.hash}+{digest[:16]}"

    @property
    def request(self) -> dict[str, Any]:
        """As `segment_apart` is told of it."""
        return {"bundle": str(self.bundle.folder), "trust": self.rule.trust, "settings": self.rule.settings}

    @property
    def change(self) -> str:
        """What is to be said when the bundle is another one than when the node started; else nothing."""
        if stamp_of(self.bundle.folder) == self.stamp or (now := fingerprint(self.bundle.folder)) == self.bundle.hash:
            return ""
        what = f"the bundle {printable(self.bundle.folder)} of rule {printable(self.rule.name)} has changed"
        hashes = f"hash {self.bundle.hash[:16]}, now {now[:16]}"
        return f"{what} since the node started ({hashes}); restart the node to use it, or put the old one back"


def admit_models(config: NodeConfig) -> dict[str, Model]:
    """The models of all rules, by the rules' names; nothing is loaded yet.

    Raises:
        UnverifiedError: verification has findings about a bundle.
        DelineateError: there is no such bundle.
    """
    found = {}
    for rule in config.rules:
        bundle = admit(rule.bundle, rule.trust)
        found[rule.name] = Model(rule, bundle, stamp_of(bundle.folder))
    return found


def stamp_of(bundle: Path) -> Stamp:
    """Sizes and times of the files that decide what a bundle does; far quicker than their hash."""
    files = sorted(path for folder in ("configs", "models") for path in (bundle / folder).rglob("*") if path.is_file())
    return tuple((str(path), status.st_size, status.st_mtime_ns) for path in files for status in [path.stat()])
