"""``comparison.html``: one page, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2


def render_page(folder: Path, largest: list[dict[str, str]], **more: Any) -> str:
    """The page as HTML.

    Args:
        folder: that the pictures' paths start from.
        largest: the images that differ most, with ``picture``.
        more: what else ``comparison.html.jinja`` names; plain texts.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    shown = [{**one, "uri": _uri(folder / one["picture"]) if one["picture"] else ""} for one in largest]
    return environment.get_template("comparison.html.jinja").render(largest=shown, **more)


def _uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
