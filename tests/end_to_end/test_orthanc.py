"""Objects to a real Orthanc and back, by C-STORE, STOW-RS and WADO-RS; a study on it, segmented from a distance."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from dicom_objects import PATIENT, cine, outlined, radiograph
from PIL import Image
from processes import inside, refusal, succeeded
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from structured_bundles import structured_bundle

from delineate.pipelines.exchange import Answer, Outgoing, dicomweb, dimse
from delineate.pipelines.imaging.objects import encode

if TYPE_CHECKING:
    from orthanc import Orthanc

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")]
KINDS = [("seg", "binary"), ("seg", "fractional"), ("sc", "binary"), ("sr", "binary")]


def objects(folder: Path, **attributes: Any) -> list[Outgoing]:
    """An image, and the objects that are of it."""
    folder.mkdir(exist_ok=True)
    uids = dict.fromkeys(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), "")
    source = radiograph(folder / "source.dcm", **{name: generate_uid() for name in uids} | attributes)
    made = [source]
    for number, (kind, seg_type) in enumerate(KINDS):
        made.append(folder / f"{number}.dcm")
        made[-1].write_bytes(encode(kind, outlined([(source, 0)], seg_type=seg_type)))  # type: ignore[arg-type]
    return [of_file(path) for path in made]


def of_file(path: Path) -> Outgoing:
    dataset = pydicom.dcmread(path)
    return Outgoing(path, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID))


def retrieved(orthanc: Orthanc, study: str, folder: Path) -> dict[str, pydicom.Dataset]:
    """All that Orthanc has of a study, by WADO-RS."""
    server = dicomweb.Server(orthanc.web)
    found = [
        path
        for series in dicomweb.find_series(server, study)
        for path in dicomweb.retrieve_series(server, series, folder)
    ]
    return {str(dataset.SOPInstanceUID): dataset for dataset in map(pydicom.dcmread, found)}


def by_dimse(orthanc: Orthanc, instances: list[Outgoing]) -> list[Answer]:
    return list(dimse.store(dimse.Peer("127.0.0.1", orthanc.dicom, "ORTHANC"), instances))


def by_web(orthanc: Orthanc, instances: list[Outgoing]) -> list[Answer]:
    return list(dicomweb.store(dicomweb.Server(orthanc.web + "/"), instances))


@pytest.mark.parametrize("store", [by_dimse, by_web], ids=["C-STORE", "STOW-RS"])
def test_objects_come_back_unchanged(orthanc: Orthanc, tmp_path: Path, store: Any) -> None:
    sent = objects(tmp_path / "sent", PatientName="Ж^Å", SpecificCharacterSet="ISO_IR 192")
    assert store(orthanc, sent) == [Answer(one.sop_uid) for one in sent]
    study = str(pydicom.dcmread(sent[0].file).StudyInstanceUID)
    found = retrieved(orthanc, study, tmp_path / "found")
    assert set(found) == {one.sop_uid for one in sent}
    for one in sent:
        assert found[one.sop_uid] == pydicom.dcmread(one.file)
    masks = outlined([(sent[0].file, 0)]).masks
    seg = hd.seg.segread(io.BytesIO(orthanc.file(sent[1].sop_uid)))
    pixels = seg.get_pixels_by_source_instance([sent[0].sop_uid])
    np.testing.assert_array_equal(pixels[0].transpose(2, 0, 1), masks[:, 0])


def test_orthanc_answers_for_what_it_stored_and_not_for_the_rest(tmp_path: Path) -> None:
    from dicom_peers import serving
    from orthanc import running

    found: list[dimse.Report] = []

    def take(event: evt.Event) -> tuple[int, None]:
        found.append(dimse.read_report(event))
        return 0x0000, None

    entity = AE("NODE")
    dimse.accept_reports(entity)
    sent = objects(tmp_path / "sent")
    with serving(entity, [(evt.EVT_N_EVENT_REPORT, take)]) as port:
        modalities = {"node": ["NODE", "127.0.0.1", port]}
        with running(tmp_path / "orthanc", {"DicomModalities": modalities}) as orthanc:
            peer = dimse.Peer("127.0.0.1", orthanc.dicom, "ORTHANC", calling="NODE")
            assert list(dimse.store(peer, sent[:3])) == [Answer(one.sop_uid) for one in sent[:3]]
            report = dimse.request_commitment(peer, "2.25.7", sent[:4], wait_seconds=0.5)
    assert [report, *found][-1] == dimse.Report(
        "2.25.7",
        tuple(one.sop_uid for one in sent[:3]),
        (Answer(sent[3].sop_uid, "does not have it (status 0x0112)"),),
    )


def test_the_node_sends_a_result_and_has_it_committed(tmp_path: Path) -> None:
    """Orthanc reports over an association to the port of the node."""
    import threading
    import time

    from orthanc import free_port, running

    from delineate.pipelines.node import sender
    from delineate.pipelines.node.audit import Audit
    from delineate.pipelines.node.configuration.config import NodeConfig
    from delineate.pipelines.node.folders import Folders
    from delineate.pipelines.node.queue.queue import Arrival, Facts, NewDelivery, Queue
    from delineate.pipelines.node.receiving.receiver import Receiver

    port, folders = free_port(), Folders(tmp_path / "node")
    folders.make()
    sent = objects(folders.results / "job")
    with running(tmp_path / "orthanc", {"DicomModalities": {"node": ["DELINEATE", "127.0.0.1", port]}}) as orthanc:
        pacs = {"name": "pacs", "host": "127.0.0.1", "port": orthanc.dicom, "ae_title": "ORTHANC", "commitment": True}
        content = {"folder": folders.root, "address": "127.0.0.1", "port": port, "destinations": [pacs]}
        content |= {"callers": [{"ae_title": "ORTHANC"}], "rules": [{"name": "r", "bundle": "b", "send_to": ["pacs"]}]}
        config = NodeConfig.model_validate(content)
        queue, audit, stop = Queue(folders.database), Audit(folders.audit), threading.Event()
        arrival = Arrival("a.dcm", "PEER", "", time.time() - 100)
        queue.receive(arrival)
        queue.file(arrival, Facts("1", "1.2", "1.2.3", "1.2"), "digest", "series/a.dcm")
        queue.settle(config, time.time())
        job = queue.next_job()
        assert job
        deliveries = [
            NewDelivery("pacs", one.sop_uid, one.sop_class, str(one.file.relative_to(folders.root))) for one in sent
        ]
        queue.done(job.id, "model", deliveries)
        receiver = Receiver(config, queue, audit)
        receiver.start()
        thread = threading.Thread(target=sender.send, args=(config, queue, audit, stop))
        thread.start()
        for _ in range(500):
            if queue.job(job.id).state == "sent":
                break
            time.sleep(0.02)
        state, stored = queue.job(job.id).state, orthanc.sop_uids()
        stop.set()
        thread.join(10)
        receiver.stop()
        queue.close()
    assert state == "sent"
    assert stored == {one.sop_uid for one in sent}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, and a study: a CT series, a radiograph, a film."""
    folder = tmp_path_factory.mktemp("remote")
    structured_bundle(folder / "chest", False, "ct_slice")
    voxels = np.random.default_rng(2).integers(-200, 300, (24, 20, 5), dtype=np.int16)
    facts = {"FrameOfReferenceUID": generate_uid(), "SliceThickness": "4", "Modality": "CT"}
    write_series(folder / "study/ct", voxels, np.diag([-1.5, -2, 4, 1]), **{**PATIENT, **facts})
    radiograph(folder / "study/chest.dcm", SeriesInstanceUID=generate_uid())
    cine(folder / "study/film.dcm")
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_is_segmented_from_a_distance_and_stored_back(orthanc: Orthanc, place: Path, tmp_path: Path) -> None:
    sources = [of_file(path) for path in sorted((place / "study").rglob("*.dcm"))]
    assert not any(answer.reason for answer in by_web(orthanc, sources))
    study = PATIENT["StudyInstanceUID"]
    remote = ("--dicomweb", orthanc.web, "--study", study)
    words = ("segment", "chest", *remote, "--out", tmp_path / "a", "--format", "png,nifti,seg,sc,sr", "--stow")
    done = succeeded(inside(*words, cwd=place))
    assert done.stdout.splitlines()[-1] == "6 segmented, 0 refused"  # a volume, an X-ray, four frames of a film
    assert "python -m monai.bundle" not in done.stdout
    rows = table(tmp_path / "a")
    inputs = {row["input"] for row in rows}
    assert all(one.startswith(f"{orthanc.web}/studies/{study}/series/") for one in inputs)
    assert len(inputs) == 3
    assert not any("tmp" in row["input"] + row["mask"] + row["reason"] for row in rows)

    local = ("segment", "chest", "study", "--out", tmp_path / "b", "--format", "png,nifti,seg,sc,sr")
    succeeded(inside(*local, cwd=place))
    ours = {path.read_bytes() for path in (tmp_path / "b").glob("*.dcm")}
    assert {path.read_bytes() for path in (tmp_path / "a").glob("*.dcm")} == ours
    back = retrieved(orthanc, study, tmp_path / "back")
    made = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, (tmp_path / "a").glob("*.dcm"))}
    assert len(made) == 18
    assert set(back) == set(made) | {one.sop_uid for one in sources}
    assert all(back[uid] == dataset for uid, dataset in made.items())

    row = next(row for row in rows if row["mask"].endswith("png"))
    seg = hd.seg.segread(tmp_path / "a" / row["seg"])
    label = next(one.SegmentNumber for one in seg.SegmentSequence if one.SegmentLabel == row["structure"])
    source = row["input"].rpartition("/")[2]
    inside_seg = seg.get_pixels_by_source_instance([source], segment_numbers=[label])[0, ..., 0]
    np.testing.assert_array_equal(inside_seg, np.asarray(Image.open(tmp_path / "a" / row["mask"])) // 255)

    again = succeeded(inside("segment", "chest", *remote, "--out", tmp_path / "c", cwd=place))
    assert "is a series of SEG, not of images; passed over" in again.stderr
    assert "is a series of pictures with outlines that Delineate drew; passed over" in again.stderr
    assert "is a picture with outlines" not in again.stderr
    assert "/tmp" not in again.stderr
    assert again.stdout.splitlines()[-1].startswith("6 segmented, 0 refused, ")
    assert {path.suffix for path in (tmp_path / "c").iterdir()} == {".dcm", ".csv"}


def test_one_series_is_stored_back_without_a_folder(orthanc: Orthanc, place: Path, tmp_path: Path) -> None:
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    path = radiograph(tmp_path / "x.dcm", **uids)
    assert by_web(orthanc, [of_file(path)])[0].reason == ""
    names = ("--study", uids["StudyInstanceUID"], "--series", uids["SeriesInstanceUID"])
    done = succeeded(inside("segment", place / "chest", "--dicomweb", orthanc.web, *names, "--stow", cwd=tmp_path))
    assert "1 segmented, 0 refused" in done.stdout
    assert [one.name for one in tmp_path.iterdir()] == ["x.dcm"]
    found = retrieved(orthanc, uids["StudyInstanceUID"], tmp_path / "found")
    assert sorted(one.Modality for one in found.values()) == ["CR", "SEG"]


def test_a_study_that_is_not_there_is_one_line(orthanc: Orthanc, place: Path, tmp_path: Path) -> None:
    words = ("segment", "chest", "--dicomweb", orthanc.web, "--out", tmp_path, "--study")
    assert f"{orthanc.web}/studies/1.2.3: there is no such study" in refusal(inside(*words, "1.2.3", cwd=place))
    assert "is no UID" in refusal(inside(*words, "../x", cwd=place))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is nothing to segment"),
        (("a.png", "--dicomweb", "http://x/y", "--study", "1.2"), "name files, or a study on a server, not both"),
        (("--dicomweb", "http://x/y"), "name the study, too: --study"),
        (("a.png", "--study", "1.2", "--stow"), "--study, --stow: of which server? Name it with --dicomweb URL"),
        (
            ("--dicomweb", "http://x/y", "--study", "1.2"),
            "results.csv; or add --stow, which stores the results on the server",
        ),
        (("--dicomweb", "http://x/y", "--study", "1.2", "--stow", "--format", "png"), "add seg, sc or sr to --format"),
        (("--dicomweb", "http://x/y", "--study", "1.2", "--stow", "--header", "x"), "write NAME: VALUE"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(place: Path, words: tuple[str, ...], said: str) -> None:
    assert said in refusal(inside("segment", "chest", *words, cwd=place))


def test_what_a_server_does_not_take_is_told_and_counted(place: Path, tmp_path: Path) -> None:
    from web_servers import Reply, Request, in_json, web_server

    path = radiograph(tmp_path / "x.dcm")
    header = pydicom.dcmread(path)

    def answer(request: Request) -> Reply:
        if request.method == "POST":
            return Reply(507)
        if request.path.partition("?")[0].endswith("/series"):
            return in_json([{"0020000E": {"vr": "UI", "Value": [uid]}} for uid in ("1.1", header.SeriesInstanceUID)])
        return Reply(500) if request.path.endswith("1.1") else Reply(200, path.read_bytes(), "application/dicom")

    with web_server(answer) as (url, _):
        words = ("--dicomweb", url, "--study", header.StudyInstanceUID, "--stow", "--out", tmp_path / "out")
        done = inside("segment", "chest", *words, cwd=place)
    assert done.returncode == 1
    assert f"{url}/studies/{header.StudyInstanceUID}/series/1.1: cannot be fetched ({url} answers 500" in done.stderr
    assert "answers 507 Insufficient Storage; make room there" in done.stderr
    assert done.stdout.splitlines()[-1] == "1 segmented, 1 refused, 1 not stored"
    assert [row["status"] for row in table(tmp_path / "out")].count("refused") == 1
