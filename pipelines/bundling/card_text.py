"""Where the model card of a bundle stands: behind its documents, which are those of any bundle without it."""

from __future__ import annotations

from pathlib import Path

from ..core.files import write_atomically

CARD = Path("docs") / "model_card.json"
"""Of a bundle that was published: what its weights were trained on and how they scored, as its model card tells it."""
MARK = "what follows is of the weights in models/, and of no others"
_MARKED = {Path("docs") / "README.md": f"<!-- {MARK} -->", Path("docs") / "data_license.txt": f"--- {MARK} ---"}


def put_card(bundle: Path, card: str, terms: str) -> None:
    """Write the model card behind ``docs/README.md``, and the terms of its data behind ``docs/data_license.txt``."""
    for (name, mark), text in zip(_MARKED.items(), (card, terms), strict=True):
        document = without_card((bundle / name).read_text(encoding="utf-8"))
        write_atomically(bundle / name, f"{document.rstrip()}\n\n{mark}\n\n{text.strip()}\n".encode())


def card_of(bundle: Path) -> tuple[str, str] | None:
    """The card and the terms that `put_card` wrote; ``None`` where there are none."""
    texts = [(bundle / name).read_text(encoding="utf-8").partition(mark) for name, mark in _MARKED.items()]
    return (texts[0][2], texts[1][2]) if all(mark for _, mark, _ in texts) else None


def drop_card(bundle: Path) -> None:
    """Take them out of the documents: of other weights, they would not be true."""
    for name in _MARKED:
        if (bundle / name).is_file():
            document = (bundle / name).read_text(encoding="utf-8")
            write_atomically(bundle / name, without_card(document).encode())


def without_card(document: str) -> str:
    """A document up to the mark."""
    found = [document.find(mark) for mark in _MARKED.values() if mark in document]
    return document[: min(found)].rstrip() + "\n" if found else document
