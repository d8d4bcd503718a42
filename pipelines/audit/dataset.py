"""The audit of a data set: everything found in one pass, as ``audit.json`` and as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..core.errors import InputError
from ..core.files import write_atomically
from ..datasets.datalist import Datalist
from ..datasets.datalist import content as image_content
from ..duplicates.search import Duplicate, Propose, find_duplicates, find_equal
from ..imaging.volumes.slicing import Slicing
from .accept import read_accepted
from .examine import Examined, examine_all
from .findings import KINDS, Finding, Member, members_of
from .images import image_findings
from .masks import mask_findings
from .page import render_page
from .pairs import leak_findings, pair_findings

JSON, PAGE = "audit.json", "audit.html"


@dataclass(frozen=True)
class Audit:
    """What was found in a data set.

    Attributes:
        findings: by kind, problems first.
        accepted: reasons by the ids of accepted findings that were found.
        stale: accepted ids that are no longer found.
        images: how many were looked at.
        dataset_hash: of the data list.
        folder: where ``audit.json`` and ``audit.html`` are.
    """

    findings: list[Finding]
    accepted: dict[str, str]
    stale: list[str]
    images: int
    dataset_hash: str
    folder: Path

    @property
    def problems(self) -> list[Finding]:
        """Those that are no notes and not accepted."""
        return [one for one in self.findings if one.severity == "problem" and one.id not in self.accepted]

    def counts(self) -> dict[str, dict[str, int]]:
        """Of each kind the numbers of open problems, accepted findings and notes."""
        return {
            kind: {
                "problems": sum(one.kind == kind for one in self.problems),
                "accepted": sum(one.kind == kind and one.id in self.accepted for one in self.findings),
                "notes": sum(
                    one.kind == kind and one.severity == "note" and one.id not in self.accepted for one in self.findings
                ),
            }
            for kind in KINDS
        }


class _Pair(NamedTuple):
    first: Examined
    second: Examined
    how: Duplicate


def audit_dataset(
    dataset_dir: str | Path,
    progress: Callable[[int, int], None] | None = None,
    out: str | Path | None = None,
    *,
    features: bool = False,
) -> Audit:
    """Look at every image and mask once, and write ``audit.json`` and ``audit.html``.

    Problems, which falsify scores or break a training: leaks, contradictions, duplicates, what cannot be read (grey
    values among it), masks of another size, full masks, constant images. Notes, which may be as they should: empty
    masks, several parts, holes, masks on the border, unusual areas, sizes and colours, suspected text and callipers.

    Args:
        dataset_dir: the data set's folder, with ``datalist.json``; ``accepted.yaml`` beside it is heeded.
        progress: called with the numbers of items done and of all items.
        out: where the two files go, in place of the data set's folder; made if missing.
        features: also seek duplicates by what an encoder trained on ImageNet sees, which takes a third search.

    Raises:
        DelineateError: there is no data list, or with ``features`` no ImageNet weights.
        InputError: it cannot be read, ``accepted.yaml`` is not as it should be, or ``out`` is the folder of another
            data set or cannot be written.
    """
    folder = Path(dataset_dir)
    datalist = Datalist.read(folder)
    if out and Path(out).resolve() != folder.resolve() and (Path(out) / "datalist.json").exists():
        raise InputError(
            out, "is the folder of another data set, which has an audit of its own", "choose another --out"
        )
    propose = _third_search() if features else None
    accepted = read_accepted(folder)
    slicing = datalist.slicing or Slicing()
    examined = list(examine_all(members_of(datalist), slicing, progress or (lambda done, total: None)))
    pairs = _pairs(examined, slicing, propose)
    findings = _in_order(_judge(examined, pairs))
    known = {one.id for one in findings}
    audit = Audit(
        findings=findings,
        accepted={id_: reason for id_, reason in accepted.items() if id_ in known},
        stale=[id_ for id_ in accepted if id_ not in known],
        images=len(examined),
        dataset_hash=datalist.hash,
        folder=Path(out) if out else folder,
    )
    _write(audit, datalist, pairs, {one.member.name: one.thumbnail for one in examined})
    return audit


def _third_search() -> Propose:
    from ..duplicates.encoded import imagenet_encoder, propose  # imports torch, which nothing else here needs

    return partial(propose, encode=imagenet_encoder())


def _judge(examined: Sequence[Examined], pairs: Sequence[_Pair]) -> list[Finding]:
    """All findings; a leak that both hashes and pictures show is one."""
    read = [(one.member, one.image) for one in examined if one.image]
    return [
        *(refusal for one in examined for refusal in one.refusals),
        *leak_findings([one.member for one in examined]),
        *_of_pairs(pairs),
        *_of_masks(examined),
        *image_findings([member for member, _ in read], [image for _, image in read]),
    ]


def _of_masks(examined: Sequence[Examined]) -> Iterator[Finding]:
    """What is odd about the masks of each structure."""
    for name in dict.fromkeys(name for one in examined for name in one.masks):
        masked = [one for one in examined if name in one.masks]
        yield from mask_findings([one.member for one in masked], [one.masks[name] for one in masked], name)


def _pairs(examined: Sequence[Examined], slicing: Slicing, propose: Propose | None) -> list[_Pair]:
    """Images that show the same picture.

    Constant images are like any other. Slices and frames of one group are alike by nature, and so are slices of two
    patients: of volumes, equal ones alone count.
    """
    shown = [one for one in examined if one.image and not one.image.constant]
    signatures = [one.signature for one in shown if one.signature]
    members = [one.member for one in shown]
    of_volumes = slicing.axis or any(member.item.plane is not None for member in members)
    return [
        _Pair(shown[pair.first], shown[pair.second], pair)
        for pair in (find_equal(signatures) if of_volumes else find_duplicates(signatures, propose))
        if not _of_one_volume(members[pair.first], members[pair.second])
    ]


def _of_pairs(pairs: Sequence[_Pair]) -> list[Finding]:
    """What they give rise to."""
    shown = {id(one): one for pair in pairs for one in (pair.first, pair.second)}
    at = {name: index for index, name in enumerate(shown)}
    duplicates = [replace(pair.how, first=at[id(pair.first)], second=at[id(pair.second)]) for pair in pairs]
    members, masks = [one.member for one in shown.values()], [one.square_masks() for one in shown.values()]
    return list(pair_findings(members, duplicates, masks))


def _of_one_volume(one: Member, other: Member) -> bool:
    return one.is_slice and other.is_slice and one.item.group == other.item.group


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    """By kind, problems first; each id and set of items once."""
    once = {(one.id, tuple(sorted(one.items))): one for one in findings}
    return sorted(once.values(), key=lambda one: (KINDS.index(one.kind), one.severity == "note"))


def _write(audit: Audit, datalist: Datalist, pairs: Sequence[_Pair], thumbnails: dict[str, bytes]) -> None:
    content = {
        "dataset_hash": audit.dataset_hash,
        "images": audit.images,
        "counts": audit.counts(),
        "stale": audit.stale,
        "duplicates": [
            {
                "contents": [image_content(one.member.item) for one in (pair.first, pair.second)],
                "exact": pair.how.exact,
            }
            for pair in pairs
        ],
        "findings": [{**asdict(one), "accepted": audit.accepted.get(one.id)} for one in audit.findings],
    }
    page = render_page(datalist.name or "data set", content, thumbnails)
    try:
        audit.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(audit.folder / JSON, (json.dumps(content, indent=2) + "\n").encode())
        write_atomically(audit.folder / PAGE, page.encode())
    except OSError as error:
        raise InputError(audit.folder, f"cannot be written ({error.strerror})", "choose another --out") from error
