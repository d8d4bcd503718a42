"""One mask, every interface: the command line, stock MONAI and Python."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from processes import Done, delineate, stock, succeeded

from delineate.pipelines.inference.segmenter import Segmenter
from delineate.pipelines.phantoms.images import phantom

if TYPE_CHECKING:
    from conftest import Place

pytestmark = pytest.mark.slow

GOOD = ("upright", "turned", "more/turned", "grey", "palette", "opaque", "tall")
BAD = {
    "cut.jpg": "cannot be decoded",
    "empty.png": "is empty",
    "text.png": "is not a JPEG",
    "print.jpg": "colour mode CMYK",
    "deep.png": "more than 8 bits",
    "glass.png": "transparent pixels",
}
MISSING = "missing.png"


@dataclass(frozen=True)
class Interfaces:
    """What two interfaces wrote and said about the same inputs."""

    images: Path
    ours: Path
    stocks: Path
    our_end: Done
    stock_end: Done

    def read(self, interface: str, name: str) -> NDArray[np.uint8]:
        return np.asarray(Image.open(getattr(self, interface) / f"{name}.png"))

    def source(self, name: str) -> Image.Image:
        (path,) = self.images.glob(f"{name}.*")
        return ImageOps.exif_transpose(Image.open(path))


def write_images(folder: Path) -> None:
    (folder / "more").mkdir(parents=True)
    pictures = [Image.fromarray(phantom(900 + n, size)[0]) for n, size in enumerate([(90, 130), (141, 97), (60, 201)])]
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to show
    pictures[0].save(folder / "upright.jpg")
    pictures[0].save(folder / "turned.jpg", exif=exif)
    pictures[1].save(folder / "more" / "turned.tif")
    pictures[1].convert("L").save(folder / "grey.png")
    pictures[2].quantize(64).save(folder / "palette.png")
    pictures[2].convert("RGBA").save(folder / "opaque.png")
    pictures[1].save(folder / "tall.bmp")
    (folder / "cut.jpg").write_bytes((folder / "upright.jpg").read_bytes()[:2000])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("not an image")
    pictures[0].convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(np.arange(6000, dtype=np.uint16).reshape(60, 100)).save(folder / "deep.png")
    glass = pictures[0].convert("RGBA")
    glass.putalpha(80)
    glass.save(folder / "glass.png")


@pytest.fixture(scope="module")
def interfaces(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Interfaces:
    folder = tmp_path_factory.mktemp("interfaces")
    images, ours, stocks = folder / "images", folder / "ours", folder / "stocks"
    write_images(images)
    inputs = [str(images), str(images / MISSING)]
    our_end = delineate("segment", place.run, *inputs, "--out", ours, "--overlay", "--probability")
    shutil.copytree(place.run, folder / "copy")
    words = ("--config_file", "configs/inference.yaml", "--dataset_dir", str(inputs), "--output_dir", stocks)
    stock_end = stock("run", *words, "--overlay", "True", "--probability", "True", cwd=folder / "copy")
    return Interfaces(images, ours, stocks, our_end, stock_end)


def test_every_interface_writes_the_same_files(interfaces: Interfaces) -> None:
    ours, stocks = (
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}
        for folder in (interfaces.ours, interfaces.stocks)
    )
    assert set(ours) == {f"{name}_{kind}.png" for name in GOOD for kind in ("mask", "overlay", "probability")}
    assert ours == stocks


def test_every_interface_writes_the_same_table(interfaces: Interfaces) -> None:
    ours, stocks = (read_table(folder) for folder in (interfaces.ours, interfaces.stocks))
    apart = dict.fromkeys(("bundle", "bundle_verified", "record"), "")
    assert [row | apart for row in ours] == [row | apart for row in stocks]
    assert len(ours) == len(GOOD) + len(BAD) + 1
    assert [row["mask"] for row in ours if row["status"] == "segmented"] == sorted(f"{name}_mask.png" for name in GOOD)


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["mask"])


def test_the_python_interface_gives_the_same_masks(interfaces: Interfaces, place: Place) -> None:
    results = {r.name: r.mask for r in Segmenter(place.run).segment(interfaces.images, on_error=lambda _: None)}
    assert set(results) == set(GOOD)
    for name, mask in results.items():
        assert np.array_equal(mask * 255, interfaces.read("ours", f"{name}_mask")), name


@pytest.mark.parametrize("name", GOOD)
def test_outputs_have_the_size_of_the_upright_image(name: str, interfaces: Interfaces) -> None:
    width, height = interfaces.source(name).size
    assert width != height
    assert interfaces.read("ours", f"{name}_mask").shape == (height, width)
    assert interfaces.read("ours", f"{name}_probability").shape == (height, width)
    assert interfaces.read("ours", f"{name}_overlay").shape == (height, width, 3)


def test_masks_are_black_and_white_and_not_all_alike(interfaces: Interfaces) -> None:
    """Else every comparison here would pass with empty masks."""
    masks = [interfaces.read("ours", f"{name}_mask") for name in GOOD]
    assert all(set(np.unique(mask)) <= {0, 255} for mask in masks)
    assert sum(0.02 < (mask > 0).mean() < 0.98 for mask in masks) >= 4


def test_the_mask_turns_with_the_image(interfaces: Interfaces) -> None:
    """The same pixels, shown turned: the network sees another picture, and yet the lesion stays about where it is."""
    upright, turned = (interfaces.read("ours", f"{name}_mask") > 0 for name in ("upright", "turned"))
    back = np.rot90(turned)
    assert back.shape == upright.shape
    assert 2 * (back & upright).sum() / (back.sum() + upright.sum()) > 0.6


@pytest.mark.parametrize("name", GOOD)
def test_the_probability_cut_at_the_threshold_is_the_mask(name: str, interfaces: Interfaces) -> None:
    probability, mask = interfaces.read("ours", f"{name}_probability"), interfaces.read("ours", f"{name}_mask")
    assert probability.dtype == np.uint16
    assert np.array_equal(probability >= 32768, mask > 0)


@pytest.mark.parametrize(("name", "reason"), [*BAD.items(), (MISSING, "does not exist")])
def test_a_bad_input_is_named_and_the_rest_goes_on(name: str, reason: str, interfaces: Interfaces) -> None:
    (line,) = [line for line in interfaces.our_end.stderr.splitlines() if f"{name}: " in line]
    assert line.startswith("refused: ")
    assert reason in line
    (line,) = [line for line in interfaces.stock_end.stdout.splitlines() if f"{name}: " in line]
    assert reason in line


def test_bad_inputs_make_the_exit_code_1_without_a_traceback(interfaces: Interfaces) -> None:
    assert interfaces.our_end.returncode == 1
    assert interfaces.stock_end.returncode == 1
    assert f"{len(GOOD)} segmented, {len(BAD) + 1} refused" in interfaces.our_end.stdout
    assert "Traceback" not in interfaces.our_end.stderr + interfaces.stock_end.stderr + interfaces.stock_end.stdout


def test_two_images_of_one_name_keep_their_masks_apart(interfaces: Interfaces, place: Place, tmp_path: Path) -> None:
    for folder, source in (("a", "upright.jpg"), ("b", "turned.jpg")):
        (tmp_path / folder).mkdir()
        shutil.copyfile(interfaces.images / source, tmp_path / folder / "photo.jpg")
    done = delineate("segment", place.run, "a", "b/photo.jpg", "--out", "masks", cwd=tmp_path)
    lines = [line.rsplit(" (", 1)[0] for line in done.stdout.splitlines() if " -> " in line]  # then comes the area
    written = dict(line.split(" -> ") for line in lines)
    assert len(set(written.values())) == 2
    for source, twin in (("a/photo.jpg", "upright"), ("b/photo.jpg", "turned")):
        mask = np.asarray(Image.open(tmp_path / written[source]))
        assert np.array_equal(mask, interfaces.read("ours", f"{twin}_mask"))


def test_threshold_0_makes_everything_foreground(interfaces: Interfaces, place: Place, tmp_path: Path) -> None:
    succeeded(delineate("segment", place.run, interfaces.images / "tall.bmp", "--out", tmp_path, "--threshold", "0"))
    assert (np.asarray(Image.open(tmp_path / "tall_mask.png")) == 255).all()


def test_threshold_1_leaves_no_foreground(interfaces: Interfaces, place: Place) -> None:
    (result,) = Segmenter(place.run, threshold=1).segment(interfaces.images / "tall.bmp")
    assert not result.mask.any()
