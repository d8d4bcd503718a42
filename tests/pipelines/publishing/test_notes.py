from __future__ import annotations

from pathlib import Path

import pytest

from delineate.pipelines.bundling.bundles import part_file, shipped_bundles
from delineate.pipelines.core.errors import InputError, UnknownNameError
from delineate.pipelines.publishing.notes import NOTES, read_notes

NOTED = [name for name in shipped_bundles() if (part_file("tasks", name) / "model_card.yaml").is_file()]


@pytest.mark.parametrize("name", NOTED)
def test_the_notes_of_a_shipped_bundle_leave_nothing_out(name: str) -> None:
    assert set(read_notes(part_file("tasks", name) / "model_card.yaml")) == set(NOTES)


@pytest.mark.parametrize("text", ["", "- a", "data: ISIC", "data: [{name: ISIC}]", "ethics: [a]", "a: {"])
def test_what_is_no_note_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "notes.yaml").write_text(text)
    with pytest.raises(InputError):
        read_notes(tmp_path / "notes.yaml")


def test_an_unknown_note_is_answered_with_the_closest(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("worst_case: None.")
    with pytest.raises(UnknownNameError, match="did you mean 'worst_cases'"):
        read_notes(tmp_path / "notes.yaml")
