"""The page of an audit: one file, findings with their pictures, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from .findings import KINDS

SHOWN = 200
"""Findings of a kind that are shown with pictures; the page says how many it leaves out."""

_TITLES = {
    "leak": ("Leaks", "The same picture or group on several sides of a split: scores come out too high."),
    "contradiction": ("Contradictions", "The same picture with other classes, or masks with an IoU below 0.9."),
    "exact_duplicate": ("Exact duplicates", "Pairs of images with equal pixels."),
    "near_duplicate": (
        "Near duplicates",
        "Pairs that show the same picture: mirrored, turned, cut, covered in part, re-encoded, recoloured.",
    ),
    "similar_frame": (
        "Similar frames",
        "Notes: frames of one subject that look alike, with masks of their own; they share a group.",
    ),
    "mask": (
        "Masks",
        "Problems: unreadable, of another size, full. Notes: empty, parts, holes, on the border, an unusual area.",
    ),
    "image": (
        "Images",
        "Problems: unreadable, constant. Notes: an unusual size or colour, suspected text and callipers (a guess).",
    ),
}


def render_page(title: str, audit: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
        title: the data set's name, plain text as all text here.
        audit: what ``audit.json`` holds.
        thumbnails: JPEG files by the names of items; of what could not be read there is none.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    kinds = [_kind(kind, audit, thumbnails) for kind in KINDS]
    return environment.get_template("audit.html.jinja").render(title=title, audit=audit, kinds=kinds)


def _kind(kind: str, audit: Mapping[str, Any], thumbnails: Mapping[str, bytes]) -> dict[str, Any]:
    findings: Sequence[Mapping[str, Any]] = [one for one in audit["findings"] if one["kind"] == kind]
    title, meaning = _TITLES[kind]
    shown = [
        {**one, "pictures": [{"name": name, "uri": _uri(thumbnails.get(name))} for name in one["items"]]}
        for one in findings[:SHOWN]
    ]
    return {
        "kind": kind,
        "title": title,
        "meaning": meaning,
        "counts": audit["counts"][kind],
        "shown": shown,
        "left_out": len(findings) - len(shown),
    }


def _uri(jpeg: bytes | None) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() if jpeg else ""
