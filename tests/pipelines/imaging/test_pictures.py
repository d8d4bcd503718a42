from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features
from stored_pictures import MASK, palette_image, save, with_alpha

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging import pictures as images
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image, write_png

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)


def png_of_depth_16(pixels: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow reads but cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# images


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
def test_a_colour_image_comes_back_unchanged(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", COLOUR), "rgb"), COLOUR)


def test_a_jpeg_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 24, 3), 128, np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.jpg", flat), "rgb"), flat)


@pytest.mark.parametrize(("channels", "depth"), [("rgb", 3), ("grey", 1)])
def test_a_grey_image_is_repeated_for_the_channels(tmp_path: Path, channels: Any, depth: int) -> None:
    pixels = read_image(save(tmp_path / "a.png", GREY), channels)
    np.testing.assert_array_equal(pixels, np.repeat(GREY[..., None], depth, axis=-1))


@pytest.mark.parametrize("channels", ["rgb", "grey"])
def test_a_one_bit_image_becomes_black_and_white(tmp_path: Path, channels: Any) -> None:
    pixels = read_image(save(tmp_path / "a.png", MASK.astype(bool)), channels)
    np.testing.assert_array_equal(pixels[..., 0], MASK * 255)


def test_grey_of_a_colour_image_is_its_luminance(tmp_path: Path) -> None:
    expected = COLOUR @ np.array([0.299, 0.587, 0.114])
    pixels = read_image(save(tmp_path / "a.png", COLOUR), "grey")
    assert np.abs(pixels[..., 0] - expected).max() <= 0.51


def test_grey_of_a_grey_image_stored_as_rgb_is_unchanged(tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(8, 32)
    pixels = read_image(save(tmp_path / "a.png", np.dstack([ramp] * 3)), "grey")
    np.testing.assert_array_equal(pixels[..., 0], ramp)


def test_a_palette_image_is_read_by_its_colours(tmp_path: Path) -> None:
    image = palette_image(MASK, {0: (10, 20, 30), 1: (40, 50, 60)})
    pixels = read_image(save(tmp_path / "a.png", image), "rgb")
    np.testing.assert_array_equal(pixels, np.where(MASK[..., None] == 1, (40, 50, 60), (10, 20, 30)))


def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", with_alpha(COLOUR, 255)), "rgb"), COLOUR)


def test_an_opaque_alpha_channel_of_a_grey_image_is_dropped(tmp_path: Path) -> None:
    pixels = read_image(save(tmp_path / "a.png", with_alpha(GREY, 255)), "grey")
    np.testing.assert_array_equal(pixels[..., 0], GREY)


@pytest.mark.parametrize("picture", [with_alpha(COLOUR, 254), with_alpha(GREY, 0)], ids=["RGBA", "LA"])
def test_transparent_pixels_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    with pytest.raises(InputError, match="transparent pixels"):
        read_image(save(tmp_path / "a.png", picture), "rgb")


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["index", "bytes"])
def test_a_palette_image_with_a_transparent_colour_is_refused(tmp_path: Path, transparency: Any) -> None:
    image = palette_image(MASK, {0: (10, 20, 30), 1: (40, 50, 60)})
    with pytest.raises(InputError, match="transparent pixels"):
        read_image(save(tmp_path / "a.png", image, transparency=transparency), "rgb")


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("CMYK", ".tif"), ("LAB", ".tif")])
def test_other_colour_modes_are_refused_by_name(tmp_path: Path, mode: str, suffix: str) -> None:
    with pytest.raises(InputError, match=f"colour mode {mode}"):
        read_image(save(tmp_path / f"a{suffix}", Image.new(mode, (8, 8))), "rgb")


@pytest.mark.parametrize(
    ("dtype", "suffix"), [("uint16", ".png"), ("uint16", ".tif"), ("int32", ".tif"), ("float32", ".tif")]
)
def test_more_than_8_bits_are_refused(tmp_path: Path, dtype: str, suffix: str) -> None:
    with pytest.raises(InputError, match="more than 8 bits a channel; window it"):
        read_image(save(tmp_path / f"a{suffix}", GREY.astype(dtype)), "grey")


@pytest.mark.parametrize("reader", [lambda path: read_image(path, "rgb"), read_mask], ids=["image", "mask"])
def test_16_bit_colour_is_refused_and_not_silently_cut(tmp_path: Path, reader: Any) -> None:
    (tmp_path / "a.png").write_bytes(png_of_depth_16(np.full((5, 7, 3), 65535)))
    with pytest.raises(InputError, match="more than 8 bits"):
        reader(tmp_path / "a.png")


def orient(picture: np.ndarray, orientation: int) -> np.ndarray:
    """How a viewer shows stored pixels, by the EXIF standard."""
    if orientation >= 5:
        picture = picture.swapaxes(0, 1)
    down, right = ((1, 1), (1, -1), (-1, -1), (-1, 1))[(orientation - 1) % 4]
    return picture[::down, ::right]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a{suffix}", COLOUR, exif=exif)
    np.testing.assert_array_equal(read_image(path, "rgb"), orient(COLOUR, orientation))


def test_a_several_page_tiff_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(GREY)] * 3
    with pytest.raises(InputError, match="has 3 frames"):
        read_image(save(tmp_path / "a.tif", pages[0], save_all=True, append_images=pages[1:]), "grey")


def test_a_photo_with_embedded_previews_is_read_by_its_first_picture(tmp_path: Path) -> None:
    first, preview = Image.new("RGB", (16, 8), (90, 90, 90)), Image.new("RGB", (8, 4))
    path = save(tmp_path / "a.jpg", first, format="MPO", save_all=True, append_images=[preview])
    assert read_image(path, "rgb").shape == (8, 16, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cannot be decoded|is not a JPEG"):
        read_image(path, "rgb")


@pytest.mark.parametrize(("content", "reason"), [("", r"is empty \(0 bytes\)"), ("some text", "is not a JPEG, PNG")])
def test_an_empty_file_and_text_named_png_are_refused(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "a.png").write_text(content)
    with pytest.raises(InputError, match=reason):
        read_image(tmp_path / "a.png", "rgb")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_image(tmp_path / "a.png", "rgb")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path, "rgb")


@pytest.mark.parametrize("times", [1.5, 3])
def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: float) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(GREY.size / times))
    with pytest.raises(InputError, match="million pixels"):
        read_image(save(tmp_path / "a.png", GREY), "grey")


def test_our_own_limit_of_pixels_holds_without_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", GREY.size - 1)
    with pytest.raises(InputError, match="million pixels"):
        read_image(save(tmp_path / "a.png", GREY), "grey")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.data(), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]))
def test_a_damaged_file_is_read_or_refused_and_never_anything_else(tmp_path: Path, damage: Any, kind: str) -> None:
    buffer = BytesIO()
    Image.fromarray(COLOUR).save(buffer, format=kind)
    content = bytearray(buffer.getvalue())
    for place in damage.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = damage.draw(st.integers(0, 255))
    (tmp_path / "a").write_bytes(content[: damage.draw(st.integers(1, len(content)))])
    with suppress(InputError):  # anything else fails the test
        assert read_image(tmp_path / "a", "rgb").shape[2] == 3


# kinds


def test_webp_is_read_and_a_moving_one_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.webp", COLOUR, lossless=True)
    np.testing.assert_array_equal(read_image(path, "rgb"), COLOUR)
    frames = [Image.fromarray(np.roll(COLOUR, shift, axis=0)) for shift in range(3)]
    save(tmp_path / "b.webp", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="has 3 frames; save each frame as a file of its own"):
        read_image(tmp_path / "b.webp", "rgb")


needs_avif = pytest.mark.skipif(
    not ("avif" in features.modules and features.check("avif")), reason="needs a Pillow with AVIF"
)
BIG = np.kron(RNG.integers(0, 256, (2, 3, 3), dtype=np.uint8), np.ones((32, 32, 1), np.uint8))


@needs_avif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_as_a_viewer_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.avif", BIG, exif=exif, quality=100, subsampling="4:4:4")
    np.testing.assert_allclose(read_image(path, "rgb").astype(int), orient(BIG, orientation), atol=6)


@needs_avif
def test_avif_of_more_than_8_bits_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.avif", BIG)
    content = bytearray(path.read_bytes())
    content[content.index(b"av1C") + 6] |= 0x40
    path.write_bytes(content)
    with pytest.raises(InputError, match="more than 8 bits a channel"):
        read_image(path, "rgb")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_as_a_viewer_turns_it(tmp_path: Path, orientation: int) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    picture = Image.fromarray(BIG)
    picture.getexif()[0x0112] = orientation  # cameras write the orientation twice, in EXIF and as boxes of the file
    path = save(tmp_path / "a.heic", picture, quality=-1, chroma=444)
    np.testing.assert_allclose(read_image(path, "rgb").astype(int), orient(BIG, orientation), atol=6)


def test_heic_with_more_bits_frames_or_transparency_is_refused(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    deep = np.zeros((64, 96, 3), np.uint16)
    heif.from_bytes(mode="RGB;16", size=(96, 64), data=deep.tobytes()).save(tmp_path / "deep.heic")
    save(tmp_path / "two.heic", Image.fromarray(BIG), save_all=True, append_images=[Image.fromarray(BIG)])
    save(tmp_path / "clear.heic", with_alpha(BIG, 9))
    for name, reason in (("deep", "more than 8 bits"), ("two", "has 2 frames"), ("clear", "transparent pixels")):
        with pytest.raises(InputError, match=reason):
            read_image(tmp_path / f"{name}.heic", "rgb")


def test_heic_without_what_reads_it_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"is a HEIC image, and pillow-heif, .* pip install .*\[heif\]"):
        read_image(tmp_path / "a.heic", "rgb")


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_other_kinds_are_refused_where_they_are_cut(tmp_path: Path, kind: str, share: float) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind == "AVIF" and not ("avif" in features.modules and features.check("avif")):
        pytest.skip("needs a Pillow with AVIF")
    path = save(tmp_path / "a", RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8), format=kind)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="cannot be decoded"):
        read_image(path, "rgb")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP"])
def test_a_picture_is_read_by_its_content_whatever_its_suffix(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / ("a.jpg" if kind != "JPEG" else "a.png"), np.full((16, 24, 3), 128, np.uint8), format=kind)
    np.testing.assert_array_equal(read_image(path, "rgb"), np.full((16, 24, 3), 128))


def test_a_gif_a_film_and_dicom_named_like_a_picture_are_called_what_they_are(tmp_path: Path) -> None:
    save(tmp_path / "gif.png", GREY, format="GIF")
    (tmp_path / "film.jpg").write_bytes(b"\0\0\0\x20ftypisom")
    (tmp_path / "scan.jpg").write_bytes(b"\0" * 128 + b"DICM")
    for name, reason in (("gif.png", "but GIF"), ("film.jpg", "but a film"), ("scan.jpg", "is a DICOM file")):
        with pytest.raises(InputError, match=reason):
            read_image(tmp_path / name, "rgb")


def test_a_kind_of_tiff_that_is_not_read_is_not_called_damaged_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", COLOUR)
    content = path.read_bytes()
    entry = content.index(struct.pack("<HHI", 258, 3, 3))  # bits a sample
    (place,) = struct.unpack_from("<I", content, entry + 8)
    path.write_bytes(content[:place] + struct.pack("<HHH", 5, 5, 5) + content[place + 6 :])
    with pytest.raises(InputError, match=r"of a rare kind; .* or save it as 8-bit PNG"):
        read_image(path, "rgb")


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_bombs_of_other_kinds_are_refused_before_they_are_decoded(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a", COLOUR, format=kind)
    monkeypatch.setattr(images, "MAX_PIXELS", COLOUR[..., 0].size - 1)
    monkeypatch.setattr(Image.Image, "load", pytest.fail)
    with pytest.raises(InputError, match="million pixels"):
        read_image(path, "rgb")


def test_a_flipped_bit_of_a_png_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", COLOUR)
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 12] ^= 16
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be decoded"):
        read_image(path, "rgb")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="is no regular file"):
        read_image(tmp_path / "a.png", "rgb")


def test_reading_an_image_needs_neither_torch_nor_monai() -> None:
    code = "import sys, delineate.pipelines.imaging.pictures; sys.exit(bool({'torch', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# writing


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY.astype(np.uint16) * 257], ids=["grey", "colour", "16-bit"])
def test_a_written_png_holds_the_same_pixels(tmp_path: Path, pixels: np.ndarray) -> None:
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.array(image), pixels)


@pytest.mark.parametrize("pixels", [GREY / 255, GREY[0], with_alpha(COLOUR, 255), COLOUR.astype(np.uint16)])
def test_what_is_no_picture_is_not_written(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="cannot write"):
        write_png(tmp_path / "a.png", pixels)
    assert not list(tmp_path.iterdir())
