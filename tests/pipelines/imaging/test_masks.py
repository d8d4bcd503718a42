from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_erosion
from shared_data import SHARED
from stored_pictures import MASK, palette_image, save, with_alpha

from delineate.pipelines.core.errors import InputError
from delineate.pipelines.imaging.masks import fill_outline, is_jpeg, read_mask, same_shape

# masks

STORED_MASKS = {
    "0/1": MASK,
    "0/255": MASK * 255,
    "1-bit": MASK.astype(bool),
    "RGB": np.dstack([MASK * 255] * 3),
    "opaque RGBA": with_alpha(np.dstack([MASK * 255] * 3), 255),
    "opaque LA": with_alpha(MASK, 255),
    "16-bit 0/1": MASK.astype(np.uint16),
    "16-bit 0/255": MASK.astype(np.uint16) * 255,
    "16-bit 0/65535": MASK.astype(np.uint16) * 65535,
    "palette": palette_image(MASK, {0: (0, 0, 0), 1: (255, 255, 255)}),
    "inverted palette": palette_image(255 - MASK * 255, {0: (255, 255, 255), 255: (0, 0, 0)}),
}


@pytest.mark.parametrize("picture", STORED_MASKS.values(), ids=STORED_MASKS.keys())
def test_a_mask_is_read_however_it_is_stored(tmp_path: Path, picture: np.ndarray) -> None:
    mask = read_mask(save(tmp_path / "a.png", picture))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize(("stored", "read"), [(0, 0), (1, 1), (255, 1)])
def test_a_mask_of_one_value_is_all_background_or_all_object(tmp_path: Path, stored: int, read: int) -> None:
    assert (read_mask(save(tmp_path / "a.png", np.full_like(MASK, stored))) == read).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_mask_with_grey_values_is_refused_and_names_them(tmp_path: Path, dtype: str) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 3], [17, 255]], dtype))
    with pytest.raises(InputError, match=r"mask has grey values \(0, 3, 17, 255\); save it"):
        read_mask(path)


def test_a_mask_with_both_1_and_255_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"grey values \(0, 1, 255\)"):
        read_mask(save(tmp_path / "a.png", np.array([[0, 1], [1, 255]], np.uint8)))


def test_a_mask_with_colours_is_refused_and_names_them(tmp_path: Path) -> None:
    image = palette_image(MASK, {0: (0, 0, 0), 1: (128, 0, 0)})
    with pytest.raises(InputError, match=r"mask has colours \(\(128, 0, 0\)\)"):
        read_mask(save(tmp_path / "a.png", image))


def test_a_mask_with_transparent_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask has transparent pixels"):
        read_mask(save(tmp_path / "a.png", with_alpha(np.dstack([MASK * 255] * 3), 0)))


def test_a_cmyk_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask has colour mode CMYK"):
        read_mask(save(tmp_path / "a.tif", Image.new("CMYK", (8, 8))))


def test_a_16_bit_mask_whose_zero_is_white_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", MASK.astype(np.uint16), tiffinfo={262: 0})
    with Image.open(path) as image:
        assert image.tag_v2[262] == 0  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="zero is white"):
        read_mask(path)


def test_a_1_bit_mask_whose_zero_is_white_is_read_as_shown(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(MASK.astype(bool)), compression="group4")
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_exif_orientation_of_a_mask_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", MASK, exif=exif)), np.rot90(MASK, -1))


def test_several_masks_are_united(tmp_path: Path) -> None:
    one, two = MASK * 255, np.flip(MASK)
    paths = [save(tmp_path / "1.png", one), save(tmp_path / "2.png", two)]
    np.testing.assert_array_equal(read_mask(paths), (one > 0) | (two > 0))


def test_masks_of_different_sizes_are_refused(tmp_path: Path) -> None:
    paths = [save(tmp_path / "1.png", MASK), save(tmp_path / "2.png", MASK[:3])]
    with pytest.raises(InputError, match=r"2\.png: mask is 7x3, mask 1\.png of the same image is 7x5"):
        read_mask(paths)


@pytest.mark.skipif(not (SHARED / "HAM10000").is_dir(), reason="needs HAM10000 in ../shared/data")
def test_lesions_of_the_inverted_ham10000_palette_are_not_the_background() -> None:
    for path in (SHARED / "HAM10000/masks").glob("*.png"):
        mask = read_mask(path)
        assert not mask[0].any(), path.name
        assert 0 < mask.mean() < 0.6


# JPEG


def disk(height: int, width: int) -> np.ndarray:
    """(96, 128) bool."""
    rows, columns = np.mgrid[-48:48, -64:64]
    return (rows / height) ** 2 + (columns / width) ** 2 <= 1


def as_jpeg(path: Path, grey: np.ndarray, quality: int = 75) -> Path:
    return save(path, grey.astype(np.uint8), format="JPEG", quality=quality)


@settings(deadline=None, max_examples=60)
@given(height=st.integers(3, 60), width=st.integers(3, 70), quality=st.integers(5, 95))
def test_a_jpeg_mask_is_cut_at_128_where_it_is_declared(
    height: int, width: int, quality: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    area = disk(height, width)
    path = as_jpeg(tmp_path_factory.mktemp("jpeg") / "a.jpg", area * 255, quality)
    mask = read_mask(path, jpeg=True)
    with Image.open(path) as image:
        np.testing.assert_array_equal(mask, np.array(image) >= 128)
    assert (mask != area).mean() < 0.01


def test_a_jpeg_mask_is_refused_where_it_is_not_declared(tmp_path: Path) -> None:
    path = as_jpeg(tmp_path / "a.jpg", disk(20, 30) * 255)
    with pytest.raises(InputError, match=r"has grey values .*'delineate data index' takes what is only compression"):
        read_mask(path)


def test_a_jpeg_mask_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    path = as_jpeg(tmp_path / "a.png", disk(20, 30) * 255)
    assert is_jpeg(path)
    assert read_mask(path, jpeg=True).any()


def test_soft_masks_that_are_no_jpeg_are_never_cut(tmp_path: Path) -> None:
    with Image.open(as_jpeg(tmp_path / "a.jpg", disk(20, 30) * 255)) as image:
        path = save(tmp_path / "b.png", np.array(image))
    with pytest.raises(InputError, match="has grey values"):
        read_mask(path, jpeg=True)


GREYS = {
    "a third class": disk(40, 50) * 127 + disk(20, 20) * 128,
    "a ramp": np.tile(np.arange(128), (96, 1)) * 2,
    "another top value": disk(20, 30) * 128,
    "values 0 and 2": disk(20, 30) * 2 + disk(10, 10),
    "an image": np.random.default_rng(0).integers(0, 256, (24, 32)).repeat(4, 0).repeat(4, 1),
}


@pytest.mark.parametrize("grey", GREYS.values(), ids=GREYS)
def test_a_jpeg_with_areas_of_grey_is_refused_even_where_it_is_declared(tmp_path: Path, grey: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"is a JPEG with more grey .* than compression leaves"):
        read_mask(as_jpeg(tmp_path / "a.jpg", grey), jpeg=True)


@pytest.mark.parametrize("value", [0, 255])
def test_a_jpeg_mask_of_one_value_is_all_background_or_all_object(tmp_path: Path, value: int) -> None:
    path = as_jpeg(tmp_path / "a.jpg", np.full((40, 40), value))
    assert (read_mask(path) == value // 255).all()


@pytest.mark.parametrize("folder", ["Kvasir-SEG/masks", "ultrasound-nerve-jpg/masks"])
def test_real_jpeg_masks_are_read(folder: str) -> None:
    files = sorted((SHARED / folder).glob("*.jpg"))[::8]
    if not files:
        pytest.skip(f"needs {folder} in ../shared/data")
    for file in files:
        assert 0.003 < read_mask(file, jpeg=True).mean() < 0.82


# label values


CLASSES = MASK + np.pad(np.ones((1, 2), np.uint8), ((2, 2), (3, 2)))  # 0, 1 and 2


@pytest.mark.parametrize("values", [[1], [2], [1, 2]])
@pytest.mark.parametrize("form", ["palette", "grey", "16-bit", "RGB"])
def test_label_values_name_the_foreground_of_palettes_by_index_and_of_greys_by_value(
    tmp_path: Path, form: str, values: list[int]
) -> None:
    stored: dict[str, Any] = {
        "palette": palette_image(CLASSES, {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)}),
        "grey": CLASSES,
        "16-bit": CLASSES.astype(np.uint16),
        "RGB": np.dstack([CLASSES] * 3),
    }
    mask = read_mask(save(tmp_path / "a.png", stored[form]), values=values)
    np.testing.assert_array_equal(mask, np.isin(CLASSES, values))


def test_a_palette_is_read_by_its_colours_unless_values_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", palette_image(255 - MASK * 255, {0: (255, 255, 255), 255: (0, 0, 0)}))
    np.testing.assert_array_equal(read_mask(path), MASK)
    np.testing.assert_array_equal(read_mask(path, values=[255]), 1 - MASK)


@pytest.mark.parametrize(
    ("stored", "offered"),
    [
        (palette_image(CLASSES, {0: (0, 0, 0), 1: (255, 0, 0), 2: (0, 255, 0)}), r"palette indices .*\(0, 1, 2\)"),
        (palette_image(CLASSES, {i: (i * 127,) * 3 for i in range(3)}), r"palette indices .*\(0, 1, 2\)"),
        (CLASSES * 127, r"values .*\(0, 127, 254\)"),
    ],
    ids=["colours", "greys", "grey"],
)
def test_a_mask_of_several_classes_is_refused_with_those_there_are(tmp_path: Path, stored: Any, offered: str) -> None:
    with pytest.raises(InputError, match=rf"name the {offered}: --labels"):
        read_mask(save(tmp_path / "a.png", stored))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_label_values_that_compression_may_have_changed_are_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a.png", disk(20, 30).astype(np.uint8), format=kind)
    with pytest.raises(InputError, match=f"is a {kind} file, whose values are not exact"):
        read_mask(path, values=[1])


def test_label_values_of_true_colours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask has colours"):
        read_mask(save(tmp_path / "a.png", np.dstack([CLASSES, MASK, MASK])), values=[1])


# another size


@pytest.mark.parametrize("size", [(10, 14), (15, 21), (5, 7)])
def test_a_mask_is_resized_by_the_nearest_pixel_where_asked(tmp_path: Path, size: tuple[int, int]) -> None:
    times = size[0] // 5
    mask = read_mask(save(tmp_path / "a.png", MASK), size=size)
    np.testing.assert_array_equal(mask, MASK.repeat(times, 0).repeat(times, 1))
    np.testing.assert_array_equal(read_mask(save(tmp_path / "b.png", mask), size=(5, 7)), MASK)


def test_masks_of_several_sizes_are_united_on_the_size_asked_for(tmp_path: Path) -> None:
    paths = [save(tmp_path / "a.png", MASK), save(tmp_path / "b.png", np.flip(MASK).repeat(2, 0).repeat(2, 1))]
    np.testing.assert_array_equal(read_mask(paths, size=(5, 7)), MASK | np.flip(MASK))


def test_a_mask_of_other_proportions_is_not_resized(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mask is 7x5, image is 7x7, of other proportions; take the mask"):
        read_mask(save(tmp_path / "a.png", MASK), size=(7, 7))


@pytest.mark.parametrize(("other", "same"), [((600, 800), True), ((100, 133), True), ((100, 135), False)])
def test_proportions_are_compared_to_one_per_cent(other: tuple[int, int], same: bool) -> None:
    assert same_shape((300, 400), other) is same
    assert same_shape(other, (300, 400)) is same


# outlines


def ellipse(height: int, width: int, tilt: float) -> np.ndarray:
    """(96, 128) bool, of semi-axes ``height`` and ``width``."""
    rows, columns = np.mgrid[-48:48, -64:64]
    along, across = (
        columns * np.cos(tilt) + rows * np.sin(tilt),
        rows * np.cos(tilt) - columns * np.sin(tilt),
    )
    return (along / width) ** 2 + (across / height) ** 2 <= 1


def outline_of(area: np.ndarray) -> np.ndarray:
    return area & ~binary_erosion(area, border_value=1)  # no line along the border, where an area leaves the image


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one.astype(bool) & other).sum() / (one.sum() + other.sum())


ellipses = st.builds(ellipse, st.integers(8, 40), st.integers(8, 40), st.floats(0, 3))


@settings(deadline=None, max_examples=50)
@given(area=ellipses)
def test_a_closed_outline_is_filled_and_an_area_stays_as_it_is(area: np.ndarray) -> None:
    np.testing.assert_array_equal(fill_outline(outline_of(area)), area)
    np.testing.assert_array_equal(fill_outline(area), area)


@settings(deadline=None, max_examples=50)
@given(area=ellipses, gap=st.integers(1, 5), at=st.integers(0, 1000))
def test_an_outline_with_a_gap_is_filled_all_the_same(area: np.ndarray, gap: int, at: int) -> None:
    line = outline_of(area)
    row, column = np.argwhere(line)[at % line.sum()]
    line[row : row + gap, column : column + gap] = False
    assert dice(fill_outline(line), area) > 0.93


@settings(deadline=None, max_examples=50)
@given(area=ellipses, share=st.floats(0.1, 0.6))
def test_an_outline_that_leaves_the_image_is_filled_up_to_the_border(area: np.ndarray, share: float) -> None:
    columns = np.flatnonzero(area.any(axis=0))
    start = columns[int(share * len(columns))]
    assert dice(fill_outline(outline_of(area)[:, start:]), area[:, start:]) > 0.9


def test_an_outline_that_is_not_convex_is_filled_inside() -> None:
    area = np.zeros((30, 30), bool)
    area[5:25, 5:25] = True
    area[12:18, 10:25] = False
    np.testing.assert_array_equal(fill_outline(outline_of(area)), area)


def test_no_outline_is_an_empty_mask() -> None:
    filled = fill_outline(np.zeros((5, 7), np.uint8))
    assert (filled.shape, filled.dtype, filled.any()) == ((5, 7), np.uint8, False)


def test_outlines_are_filled_before_they_are_united(tmp_path: Path) -> None:
    left, right = ellipse(20, 12, 0.0)[:, 30:], ellipse(20, 12, 0.0)[:, :98]
    paths = [save(tmp_path / f"{i}.png", outline_of(area)) for i, area in enumerate((left, right))]
    np.testing.assert_array_equal(read_mask(paths, outline=True), left | right)
    assert read_mask(paths).sum() < (left | right).sum()


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/data")
def test_real_annotations_of_fetal_heads_become_their_filled_masks() -> None:
    masks = sorted((SHARED / "HC18/training_set_filled_masks").iterdir())
    assert len(masks) == 34
    for mask in masks[::4]:
        name = mask.name.replace("_mask", "_Annotation")
        filled = read_mask(SHARED / "HC18/training_set" / name, outline=True)
        reference = read_mask(mask).astype(bool)
        assert dice(filled, reference) > 0.99
        assert dice(fill_outline(outline_of(reference)), reference) > 0.99  # some annotations come filled
