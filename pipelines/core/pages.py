"""HTML pages of one file: nothing is loaded from elsewhere, and the page itself tells the browser to load nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).parents[1] / "templates"
_KNOWN_SCRIPTS = ("sha256-rT4G1zRSbP98/dPvhgRCGCr25kp6UyYCGQ3zIJG1Jpw=",)
"""Of every script that a page has had, the newest first: pages of earlier versions lie in runs."""


def render_page(template: str, values: Mapping[str, Any]) -> str:
    """A page from a template, which extends ``page.html.jinja``.

    Args:
        template: its file name.
        values: all that it names; texts are escaped.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "sort.js").read_text(encoding="utf-8")
    page = environment.get_template(template).render(values, script=Markup(script))
    return _head(script_hash(script)) + page


def script_hash(script: str) -> str:
    """How a browser knows a script that it may run."""
    return "sha256-" + b64encode(sha256(script.encode()).digest()).decode()


def is_harmless_page(start: bytes) -> bool:
    """Whether a file that begins so is a page like ours, which lets a browser run no other script and load nothing."""
    return any(start.startswith(_head(script).encode()) for script in _KNOWN_SCRIPTS)


def _head(script: str) -> str:
    """How each page begins; a browser holds itself to the policy from there on."""
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; base-uri 'none'; "
        "form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    )
