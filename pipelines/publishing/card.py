"""The model card: Markdown under the headings of Mitchell et al. 2019 (doi 10.1145/3287560.3287596)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import counted
from ..evaluation.metrics import title_of
from ..evaluation.text import failure_line
from ..evaluation.values import DASH, shown, span

_TEMPLATE = "model_card.md.jinja"
_TEMPLATES = Path(__file__).parents[1] / "templates"
NOT_STATED = "Not stated."


def card_text(facts: Mapping[str, Any]) -> str:
    """The card, from what ``docs/model_card.json`` holds."""
    import jinja2

    environment = jinja2.Environment(  # Markdown, not HTML: nothing is to be escaped
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    evaluations = [_evaluation(one, facts["training"]) for one in facts["evaluations"]]
    notes = {name: facts["notes"].get(name) or NOT_STATED for name in ("intended_use", "not_for", "factors")}
    notes |= {name: facts["notes"].get(name) or NOT_STATED for name in ("worst_cases", "ethics", "caveats")}
    more = {"data": facts["notes"].get("data") or [], "pretraining": facts["notes"].get("pretraining") or ""}
    values = {**facts, "notes": notes | more, "evaluations": evaluations, "counted": counted}
    return environment.get_template(_TEMPLATE).render(values)


def terms_text(facts: Mapping[str, Any]) -> str:
    """The terms of the data, in plain text."""
    notes = facts["notes"]
    lines = [f"{one['name']}: {one['licence']} {one['citation']}" for one in notes.get("data") or []]
    begun = [f"They began with other weights: {notes['pretraining']}"] if notes.get("pretraining") else []
    return "\n\n".join(["The weights were trained on:", *(lines or [NOT_STATED]), *begun])


def _evaluation(one: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    names = one["metrics"]
    heads = ["", "images", "groups", *(f"{title_of(name)} (95 % interval)" for name in names)]
    rows = [
        [row["of"], *_counts(row), *(_score(row["scores"].get(name), name) for name in names)] for row in one["rows"]
    ]
    return {
        "title": _title(one),
        "table": _table([heads, ["---", *["---:"] * (len(heads) - 1)], *rows]),
        "failures": [failure_line(failure) for failure in one.get("failures") or ()],
        "notes": _remarks(one, training),
        **{key: one.get(key) for key in ("count", "groups", "data", "data_hash")},
    }


def _title(one: Mapping[str, Any]) -> str:
    cross = one.get("cross_validation")
    return f"{cross['folds']}-fold cross-validation" if cross else f"Split {one['split']} of {one['data']}"


def _remarks(one: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """What is to be known of scores before they are believed."""
    found = []
    if cross := one.get("cross_validation"):
        apart = "the test split was left out" if cross["test_kept_apart"] else "test images are among them"
        found.append(
            "Each image was scored by a network that had not seen its group. These networks were trained as this one "
            f"was, which is none of them; {apart}."
        )
    if again := one.get("seen_in_training"):
        found.append(
            f"This network has seen {counted(again, 'image')} of these in its training: the scores are too good."
        )
    if one["data_hash"] != training["data"]["hash"]:
        found.append("This is not the data set that the weights were trained on.")
    if known := one.get("familiar"):
        found.append(
            f"{known['unfamiliar']} of {known['count']} were flagged as unlike the training images, and count."
        )
    if one.get("tta"):
        found.append(f"Probabilities are means over {one['tta']} of the image.")
    return found


def _counts(row: Mapping[str, Any]) -> list[str]:
    return [DASH if row[key] is None else str(row[key]) for key in ("count", "groups")]


def _score(score: Mapping[str, Any] | None, name: str) -> str:
    if not score or score.get("value") is None:
        return DASH
    return f"{shown(score['value'], name)} ({span(score.get('ci95'), name)})"


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows)
