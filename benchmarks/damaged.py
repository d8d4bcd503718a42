"""Damaged pictures, DICOM files and volumes, segmented: each must end in a mask of the right size or a refusal by name.

    python benchmarks/damaged.py --count 5000 --seed 1 --out benchmarks/damaged.csv [--data ../shared/data]

Sound files are made here; where --data is a folder, as many files of it are taken as well. Each damaged file is one of
them with one or several damages of one kind. Files are segmented one by one, by `Segmenter` with untrained weights, in
processes that begin anew every --batch files, so that a crash is that of one file. A CSV row is a format and a kind of
damage; the files of what went wrong are kept in --keep.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

SECONDS, MEGABYTES = 60, 2048
"""What a file may take; the seconds are those of the processor, since others may use it, too."""
PATIENCE = 600
"""Seconds of the clock after which a process that says nothing is ended."""

GOOD = ("mask", "refused")
COLUMNS = ["format", "damage", "files", *GOOD, "wrong_size", "traceback", "crash", "hang", "memory"]
SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".png", ".jpg", ".tif", ".bmp", ".dcm")

Draw = random.Random


# damage: sound bytes to damaged ones


def flip_bits(data: bytearray, draw: Draw) -> None:
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        bit = draw.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8


def overwrite(data: bytearray, draw: Draw) -> None:
    length = min(len(data), draw.choice((1, 4, 16, 256, 4096)))
    begin = draw.randrange(len(data) - length + 1)
    data[begin : begin + length] = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))


def truncate(data: bytearray, draw: Draw) -> None:
    del data[draw.choice((draw.randrange(len(data)), len(data) - 1, len(data) - draw.randrange(min(64, len(data))))) :]


def insert(data: bytearray, draw: Draw) -> None:
    begin = draw.choice((draw.randrange(len(data) + 1), len(data)))
    data[begin:begin] = draw.randbytes(draw.choice((1, 2, 16, 1000)))


def remove(data: bytearray, draw: Draw) -> None:
    begin = draw.randrange(len(data))
    del data[begin : begin + draw.choice((1, 2, 16, 1000))]


def swap_halves(data: bytearray, draw: Draw) -> None:
    middle = draw.choice((len(data) // 2, draw.randrange(len(data))))
    data[:] = data[middle:] + data[:middle]


def edit_header(data: bytearray, draw: Draw) -> None:
    """A number in the first kilobyte becomes an extreme one; so does that within gzip."""
    packed = data[:2] == b"\x1f\x8b"
    head = bytearray(gzip.decompress(data)) if packed else data
    texts = list(re.finditer(rb"(?<![\w.])-?\d+(\.\d+)?", bytes(head[:1000])))
    if head[:4] == b"NRRD" or b"NDims" in head[:300]:
        match = draw.choice(texts)
        numbers = (b"-1", b"0", b"100", b"2147483647", b"-2147483648", b"1e400", b"nan", b"9" * 1500, b"30000", b"x")
        head[match.start() : match.end()] = draw.choice(numbers)
    else:
        size = draw.choice((1, 2, 4))
        begin = draw.randrange(min(len(head), 700) - size)
        numbers = (bytes(size), b"\xff" * size, b"\xff" * (size - 1) + b"\x7f", b"\x7f" + b"\xff" * (size - 1))
        head[begin : begin + size] = draw.choice(numbers)
    data[:] = gzip.compress(head) if packed else head


DAMAGES: dict[str, Callable[[bytearray, Draw], None]] = {
    "bits flipped": flip_bits,
    "bytes overwritten": overwrite,
    "cut off": truncate,
    "bytes inserted": insert,
    "bytes removed": remove,
    "halves swapped": swap_halves,
    "header edited": edit_header,
}


# sound files


def make_sources(folder: Path) -> None:
    """Pictures, DICOM files and volumes in every format and packing that can be written here."""
    import nibabel as nib
    import numpy as np
    import SimpleITK as sitk
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    picture = (np.indices((90, 120)).sum(0)[..., None] + rng.integers(0, 40, (90, 120, 3))).astype(np.uint8)
    modes = {"RGB": (".png", ".jpg", ".tif", ".bmp"), "L": (".png", ".jpg", ".tif"), "P": (".png",)}
    for mode, suffixes in modes.items():
        for suffix in suffixes:
            Image.fromarray(picture).convert(mode).save(folder / f"picture_{mode}{suffix}")
    Image.fromarray(picture).save(folder / "packed.tif", compression="tiff_lzw")
    Image.fromarray(picture).save(folder / "deflated.tif", compression="tiff_adobe_deflate")
    Image.fromarray(picture).save(folder / "progressive.jpg", progressive=True)
    voxels = (np.indices((20, 24, 6)).sum(0) * 20 + rng.integers(-500, 40, (20, 24, 6))).astype(np.int16)
    for name, values in {"ct": voxels, "real": voxels.astype(np.float32), "bytes": voxels.astype(np.uint8)}.items():
        for suffix in (".nii", ".nii.gz"):
            image = nib.Nifti1Image(values, np.diag([1, 1.5, 3, 1]))
            nib.save(image, folder / f"{name}{suffix}")
        for packing in ("raw", "packed"):
            for suffix in (".mha", ".mhd", ".nrrd", ".nhdr"):
                file = folder / f"{name}_{packing}{suffix}"
                sitk.WriteImage(sitk.GetImageFromArray(values.T), str(file), useCompression=packing == "packed")
                if suffix in (".mhd", ".nhdr"):  # the header is damaged; its data lie beside it under another name
                    _rename_data(file)
    nib.save(nib.Nifti2Image(voxels, np.eye(4)), folder / "second.nii.gz")
    _make_dicom(folder, voxels, picture)


def _rename_data(header: Path) -> None:
    text = header.read_text()
    name = re.search(r"(?:ElementDataFile = |data file: )(\S+)", text)
    assert name
    data = header.with_name(name[1])
    renamed = data.with_name(f"data_of_{header.name}.data")
    data.rename(renamed)
    header.write_text(text.replace(name[1], renamed.name))


def _make_dicom(folder: Path, voxels: object, picture: object) -> None:
    import numpy as np
    from PIL import Image
    from pydicom import uid
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate

    def write(name: str, values: np.ndarray, syntax: uid.UID, packed: bytes | None = None, rle: bool = False) -> None:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if rle else syntax
        dataset.SOPClassUID, dataset.SOPInstanceUID = uid.CTImageStorage, "1.2.3.4"
        dataset.SeriesInstanceUID, dataset.Modality, dataset.PatientID = "1.2.3", "CT", "damaged"
        dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [1.5, 1], 1, -100
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        colour = values.shape[-1] == 3
        dataset.Rows, dataset.Columns = values.shape[-3:-1] if colour else values.shape[-2:]
        dataset.SamplesPerPixel = 3 if colour else 1
        dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            dataset.PlanarConfiguration = 0
        elif values.ndim == 3:
            dataset.NumberOfFrames = len(values)
        dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(values.dtype.kind == "i")
        dataset.PixelData = values.tobytes() if packed is None else encapsulate([packed])
        dataset["PixelData"].VR = "OW" if packed is None and values.itemsize > 1 else "OB"
        if rle:
            dataset.compress(uid.RLELossless, generate_instance_uid=False)
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)

    slice_, photo = np.asarray(voxels)[..., 2], np.asarray(picture)
    write("explicit", slice_, uid.ExplicitVRLittleEndian)
    write("implicit", slice_, uid.ImplicitVRLittleEndian)
    write("deflated", slice_, uid.DeflatedExplicitVRLittleEndian)
    write("frames", np.ascontiguousarray(np.asarray(voxels).transpose(2, 0, 1)), uid.ExplicitVRLittleEndian)
    write("colour", photo, uid.ExplicitVRLittleEndian)
    write("rle", slice_, uid.RLELossless, rle=True)
    for kind, syntax in (("JPEG", uid.JPEGBaseline8Bit), ("JPEG2000", uid.JPEG2000Lossless)):
        from io import BytesIO

        stream = BytesIO()
        Image.fromarray(photo[..., 0]).save(stream, kind)
        write(kind, photo[..., 0], syntax, stream.getvalue())


def real_sources(data: Path, draw: Draw, count: int) -> list[Path]:
    """Files of a folder, as many of each suffix as there are others; small ones, so that the damage is no needle."""
    files: dict[str, list[Path]] = {}
    for path in sorted(data.rglob("*")):
        name = path.name.lower()
        suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
        dicom = not suffix and "dicom" in path.parts and path.suffix != ".md"
        if path.is_file() and (suffix or dicom) and 200 < path.stat().st_size < 3_000_000:
            files.setdefault(suffix or ".dcm", []).append(path)
    return [path for kept in files.values() for path in draw.sample(kept, min(count, len(kept)))]


def format_of(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), ".dcm")


def damaged_files(sources: list[Path], folder: Path, count: int, seed: int) -> Iterator[tuple[Path, str, str]]:
    """Path, format and kind of damage; formats in equal shares."""
    draw = random.Random(seed)
    of_format: dict[str, list[Path]] = {}
    for source in sources:
        of_format.setdefault(format_of(source), []).append(source)
    for number in range(count):
        suffix = sorted(of_format)[number % len(of_format)]
        source, kind = draw.choice(of_format[suffix]), draw.choice(sorted(DAMAGES))
        data = bytearray(source.read_bytes())
        DAMAGES[kind](data, draw)
        place = folder / f"{number:05d}"
        place.mkdir(parents=True)
        beside = source.parent.glob(f"data_of_{source.name}.data")
        for file in beside:
            (place / file.name).write_bytes(file.read_bytes())
        (place / f"damaged{suffix}").write_bytes(data)
        yield place / f"damaged{suffix}", suffix, kind


# segmenting


def make_bundles(folder: Path) -> None:
    """A light bundle for pictures and one for volumes, small, with untrained weights."""
    import torch
    from monai.bundle import ConfigParser

    from delineate.pipelines.bundling.bundles import change_bundle, new_bundle
    from delineate.pipelines.core.sums import write_sums

    torch.manual_seed(0)
    for name, task in (("pictures", "skin_lesion"), ("volumes", "ct_slice")):
        bundle = new_bundle(folder / name, task)
        change_bundle(bundle, {"image_size": [64, 64]})
        parser = ConfigParser()
        parser.read_config(str(bundle / "configs" / "inference.yaml"))
        (bundle / "models").mkdir()
        torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt")
        write_sums(bundle / "models", ["model.pt"])


def work(bundles: Path) -> None:
    """Segment the files that come on stdin; tell of each when it begins and how it ends."""
    import torch

    from delineate import Segmenter

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # Pillow's, of what it passes over
    segmenters = {name: Segmenter(str(bundles / name), device="cpu") for name in ("pictures", "volumes")}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        path = Path(line.strip())
        print(json.dumps({"begins": str(path)}), flush=True)
        begin = time.process_time()
        outcome, note = _segment(segmenters, path)
        took = {"memory": _peak(), "seconds": time.process_time() - begin}
        print(json.dumps({"ends": str(path), "outcome": outcome, "note": note, **took}), flush=True)


def _segment(segmenters: dict[str, object], path: Path) -> tuple[str, str]:
    import traceback

    is_volume = format_of(path) in (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
    segmenter = segmenters["volumes" if is_volume else "pictures"]
    refused: list[str] = []
    try:
        found = segmenter.segment(str(path), on_error=lambda error: refused.append(str(error)))
        results = [result.mask.shape for result in found]
        if not results:
            named = bool(refused) and all(one.startswith(str(path)) for one in refused)
            return ("refused", refused[0]) if named else ("traceback", f"neither mask nor refusal by name: {refused}")
        expected = _size(path)
        right = all(shape == expected for shape in results)
        return ("mask", "") if right else ("wrong_size", f"{results[0]} of {expected}")
    except Exception:
        return "traceback", traceback.format_exc()


def _size(path: Path) -> tuple[int, ...]:
    """The size of an image by its header, found another way than by its reader where there is one."""
    suffix = format_of(path)
    if suffix.startswith(".nii"):
        import nibabel as nib

        shape = nib.load(path).shape[:3]
        return (*shape, *[1] * (3 - len(shape)))
    if suffix in (".mha", ".mhd", ".nrrd", ".nhdr"):
        from delineate.pipelines.imaging.volumes.formats import read_header_shape

        return read_header_shape(path)[:3]
    if path.read_bytes()[128:132] == b"DICM" or suffix == ".dcm":
        import pydicom

        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        return header.Rows, header.Columns
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        return upright.height, upright.width


def _peak() -> int:
    """Megabytes, at most, of this process or of one that it started."""
    try:
        import resource
    except ImportError:
        return 0
    found = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return int(max(found) // (2**20 if sys.platform == "darwin" else 2**10))


class Worker:
    """A process that segments, watched."""

    def __init__(self, bundles: Path) -> None:
        command = [sys.executable, __file__, "--work", str(bundles)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )
        try:
            self._read(3 * PATIENCE)
        except ValueError as error:
            raise SystemExit(f"the process that segments does not start: {self._said()}") from error

    def segment(self, path: Path) -> tuple[str, str]:
        """Outcome and what there is to say about it; this process is over where the outcome is bad."""
        assert self.process.stdin
        begin = time.monotonic()
        try:
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            self._read(PATIENCE)
            said = self._read(PATIENCE)
        except (BrokenPipeError, ValueError):
            return ("hang" if time.monotonic() - begin >= PATIENCE else "crash"), self._said()
        outcome = "memory" if said["memory"] > MEGABYTES else "hang" if said["seconds"] > SECONDS else said["outcome"]
        return outcome, f"{said['note']} ({said['memory']} MB, {said['seconds']:.1f} s)"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()

    def _said(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-2000:].decode(errors="replace")

    def _read(self, seconds: float) -> dict[str, Any]:
        assert self.process.stdout
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        return json.loads(line)


class Crew:
    """Workers, one for each thread, begun anew every ``batch`` files and after each that went wrong."""

    def __init__(self, bundles: Path, batch: int) -> None:
        self.bundles, self.batch = bundles, batch
        self.local = threading.local()
        self.workers: list[Worker] = []

    def segment(self, path: Path) -> tuple[str, str]:
        if getattr(self.local, "worker", None) is None:
            self.local.worker, self.local.done = Worker(self.bundles), 0
            self.workers.append(self.local.worker)
        outcome, note = self.local.worker.segment(path)
        self.local.done += 1
        if outcome not in GOOD or self.local.done == self.batch:
            self.local.worker.end()
            self.local.worker = None
        return outcome, note

    def end(self) -> None:
        for worker in self.workers:
            worker.end()


def measure(
    sources: list[Path], folder: Path, count: int, seed: int, batch: int, jobs: int
) -> Iterator[tuple[Path, str, str, str, str]]:
    """Path, format, damage, outcome and note of each file; what ended well is removed."""
    _make_apart(folder / "bundles")
    files, crew = damaged_files(sources, folder / "files", count, seed), Crew(folder / "bundles", batch)
    with ThreadPoolExecutor(jobs) as pool:
        while some := list(islice(files, 50 * jobs)):
            outcomes = pool.map(crew.segment, [path for path, _, _ in some])
            for (path, suffix, kind), (outcome, note) in zip(some, outcomes, strict=True):
                yield path, suffix, kind, outcome, note
                if outcome in GOOD:
                    shutil.rmtree(path.parent)
    crew.end()


def _make_apart(folder: Path) -> None:
    """This process stays small without torch."""
    subprocess.run([sys.executable, __file__, "--make", str(folder)], check=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=5000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--batch", type=int, default=1000)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--out", type=Path)
    arguments.add_argument("--keep", type=Path, help="folder for the files of what went wrong")
    arguments.add_argument("--jobs", type=int, default=1, help="processes at a time")
    arguments.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.make:
        return make_bundles(given.make)
    if given.work:
        return work(given.work)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="damaged"))
    make_sources(folder / "sources")
    sources = [path for path in sorted((folder / "sources").iterdir()) if path.suffix != ".data"]
    if given.data:
        sources += real_sources(given.data, random.Random(given.seed), 12)
    counts: dict[tuple[str, str], Counter[str]] = {}
    found = measure(sources, folder, given.count, given.seed, given.batch, given.jobs)
    for path, suffix, kind, outcome, note in found:
        counts.setdefault((suffix, kind), Counter())[outcome] += 1
        if outcome not in GOOD:
            print(f"{outcome}: {path} ({kind}): {note}", flush=True)
    total = sum(counts.values(), Counter())
    print(f"{total.total()} files: {dict(total)}; masks or refusals: {total['mask'] + total['refused']}")
    if given.out:
        _write(given.out, counts, given.seed)
    raise SystemExit(0 if total.total() == total["mask"] + total["refused"] else 1)


def _write(out: Path, counts: dict[tuple[str, str], Counter[str]], seed: int) -> None:
    from tables import write_table

    from delineate.pipelines.core.versions import commit, versions

    found = versions()
    made_with = " ".join(f"{name}={found[name]}" for name in ("python", "pillow", "pydicom", "nibabel", "SimpleITK"))
    about = {"seed": seed, "date": date.today().isoformat(), "versions": made_with, "commit": commit()}
    rows: list[dict[str, object]] = []
    for (suffix, kind), outcomes in sorted(counts.items()):
        cells = [suffix, kind, outcomes.total(), *(outcomes[name] for name in COLUMNS[3:])]
        rows.append(dict(zip(COLUMNS, cells, strict=True)) | about)
    write_table(out, rows)


if __name__ == "__main__":
    main()
