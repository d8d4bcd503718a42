"""``delineate tune``: which backend is the fastest for a bundle on this machine."""

from __future__ import annotations

from .console import say
from .options import BundleOrRun, InferenceSettings, Quiet, Trust


def tune(bundle: BundleOrRun, set_: InferenceSettings = None, trust: Trust = False, quiet: Quiet = False) -> None:
    """Measure which backend computes a bundle the fastest on this machine, for --backend auto."""
    from ..inference.tune import tune_bundle
    from ..training.runs import parse_settings

    found = tune_bundle(bundle, trust=trust, **parse_settings(set_ or []))
    for name, each in sorted(found.milliseconds.items(), key=lambda pair: pair[1]):
        say(f"{name}: {each:.1f} ms an image{', which --backend auto takes' if name == found.backend else ''}")
    for name, reason in found.left_out.items():
        say(f"{name}: {reason}")
    say(f"kept in {found.path}")
