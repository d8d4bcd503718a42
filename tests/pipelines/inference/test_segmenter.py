"""Files, arrays and Pillow's images; what comes back; what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from delineate.networks import create_network
from delineate.pipelines.bundling.bundles import change_bundle, new_bundle
from delineate.pipelines.core.errors import DelineateError, InputError, UnknownNameError
from delineate.pipelines.core.sums import write_sums
from delineate.pipelines.imaging.masks import read_mask
from delineate.pipelines.imaging.pictures import read_image
from delineate.pipelines.inference.outputs import Segmentation
from delineate.pipelines.inference.segmenter import Segmenter

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the weights that chance gives."""
    folder = new_bundle(tmp_path_factory.mktemp("bundles") / "skin", "skin_lesion", "ultra_light_unet")
    change_bundle(folder, {"image_size": [32, 32]})
    torch.manual_seed(0)
    network = create_network("ultra_light_unet", in_channels=3, out_channels=1)
    (folder / "models").mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    write_sums(folder / "models", ["model.pt"])
    return folder


@pytest.fixture(scope="module")
def segmenter(bundle: Path) -> Segmenter:
    return Segmenter(bundle, device="cpu")


def photo(height: int = 20, width: int = 33, *more: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, *more), dtype=np.uint8)


def one(segmenter: Segmenter, source: object) -> Segmentation:
    (result,) = segmenter.segment([source])  # type: ignore[list-item]
    return result


def alike(a: Segmentation, b: Segmentation) -> bool:
    return np.array_equal(a.probability, b.probability) and np.array_equal(a.mask, b.mask)


# --- what is taken -------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)), mode=st.sampled_from(["L", "RGB", "1", "P", "RGBA", "LA"])
)
def test_the_mask_is_that_of_the_file(segmenter: Segmenter, tmp_path: Path, size: tuple[int, int], mode: str) -> None:
    image = Image.fromarray(photo(*size, 3)).convert(mode)
    image.save(tmp_path / "a.png")
    of_file = one(segmenter, tmp_path / "a.png")
    assert of_file.mask.shape == size
    assert alike(of_file, one(segmenter, image))
    assert alike(of_file, one(segmenter, Image.open(tmp_path / "a.png")))
    if mode in ("L", "RGB"):
        assert alike(of_file, one(segmenter, np.asarray(image)))


def test_grey_arrays_may_say_so_in_a_channel(segmenter: Segmenter) -> None:
    grey = photo()
    assert alike(one(segmenter, grey), one(segmenter, grey[..., None]))


def test_the_orientation_of_an_image_is_applied(segmenter: Segmenter, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(20, 33, 3)).save(tmp_path / "turned.jpg", exif=exif)
    result = one(segmenter, Image.open(tmp_path / "turned.jpg"))
    assert result.mask.shape == (33, 20)
    assert alike(result, one(segmenter, tmp_path / "turned.jpg"))


def test_one_image_needs_no_list(segmenter: Segmenter) -> None:
    assert [r.mask.shape for r in segmenter.segment(photo())] == [(20, 33)]
    assert [r.mask.shape for r in segmenter.segment(Image.fromarray(photo()))] == [(20, 33)]


def test_kinds_may_be_mixed_and_keep_their_order(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(photo(9, 11)).save(tmp_path / "file.png")
    results = list(segmenter.segment([photo(5, 6), str(tmp_path / "file.png"), Image.fromarray(photo(7, 8))]))
    assert [r.mask.shape for r in results] == [(5, 6), (9, 11), (7, 8)]
    assert [r.name for r in results] == ["image_0001", "file", "image_0003"]


def test_an_iterator_is_asked_for_the_next_when_the_last_is_done(segmenter: Segmenter) -> None:
    asked = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal asked
        for _ in range(3):
            asked += 1
            yield photo()

    results = segmenter.segment(images())
    assert [asked for _ in results] == [1, 2, 3]


@pytest.mark.parametrize("lone", [False, True])
@pytest.mark.parametrize("cores", [1, 5])
def test_what_is_computed_ahead_is_the_same_and_in_the_same_order(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, lone: bool
) -> None:
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for number, file in enumerate(files):
        Image.fromarray(photo(20 + number, 33, 3)).save(file)
    files[4].write_bytes(b"")
    alone, together = list[InputError](), list[InputError]()
    expected = list(segmenter.segment(iter(files), alone.append))
    monkeypatch.setattr("delineate.pipelines.inference.outlining.usable_cores", lambda: cores)
    monkeypatch.setattr(segmenter, "_one_thread_computes_the_same", lone)
    found = list(segmenter.segment(files, together.append))
    assert [one.source for one in found] == [str(file) for file in files if file != files[4]]
    assert all(alike(*pair) for pair in zip(found, expected, strict=True))
    assert [str(error) for error in together] == [str(error) for error in alone] != []


def test_images_share_the_threads_only_where_one_thread_gives_the_same_bits(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rounded(torch.nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1e-6 * torch.get_num_threads()

    threads = [1]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    for network, usual, expected in ((torch.nn.Conv2d, 2, True), (Rounded, 1, True), (Rounded, 2, False)):
        threads[:] = [usual]
        segmenter = Segmenter(bundle, device="cpu", precision="float32")
        segmenter.network = network(3, 1, 1).eval()
        assert segmenter._one_thread_computes_the_same is expected
        assert threads[-1] == usual


def test_what_is_skipped_is_not_read(segmenter: Segmenter, tmp_path: Path) -> None:
    for name in "abc":
        Image.fromarray(photo()).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    results = segmenter.segment([tmp_path], skip=lambda item: item.file.stem == "b")
    assert [result.name for result in results] == ["a", "c"]


def test_names_of_a_stream_stay_apart(segmenter: Segmenter, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(photo()).save(tmp_path / folder / "photo.png")
    results = segmenter.segment(tmp_path / folder / "photo.png" for folder in ("a", "b"))
    assert [r.name for r in results] == ["photo", "photo_2"]


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((4, 5)), r"array of float64; give uint8, 0-255; of values 0-1 that is \(array \* 255\)"),
        (np.zeros((4, 5), bool), "array of bool"),
        (np.zeros((4, 5), np.uint16), "array of uint16"),
        (np.zeros((4, 5, 4), np.uint8), r"leave the alpha channel out: array\[\.\.\., :3\]"),
        (np.zeros((3, 5, 6), np.uint8), r"channels last: array\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"one by one, e\.g\. segment\(list\(array\)\)"),
        (np.zeros((0, 5), np.uint8), r"array \(0, 5\)"),
        (np.zeros((4, 5, 12), np.uint8), "write a volume to a file first"),
        (Image.fromarray(np.zeros((4, 5), np.uint16)), "more than 8 bits"),
        (Image.new("CMYK", (4, 5)), "colour mode CMYK"),
        (Image.new("RGBA", (4, 5)), "transparent pixels"),
        ({"image": "a.png"}, "is of the type dict; give a file name, an array or an image of Pillow's"),
    ],
)
def test_what_is_no_image_is_refused_by_its_number_and_the_rest_goes_on(
    segmenter: Segmenter, image: object, reason: str
) -> None:
    refused: list[InputError] = []
    results = list(segmenter.segment([photo(), image, photo()], refused.append))  # type: ignore[list-item]
    assert len(results) == 2
    with pytest.raises(InputError, match=f"input 2: .*{reason}"):
        raise refused.pop()


def test_a_cut_file_that_pillow_has_opened_is_refused(segmenter: Segmenter, tmp_path: Path) -> None:
    Image.fromarray(photo(90, 90, 3)).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:3000])
    with Image.open(tmp_path / "cut.jpg") as image, pytest.raises(DelineateError, match=r"cut\.jpg: cannot be decoded"):
        list(segmenter.segment(image))


def test_what_holds_no_images_at_all_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(DelineateError, match="nothing to segment in a int"):
        list(segmenter.segment(3))  # type: ignore[arg-type]


def test_a_bundle_without_weights_is_refused_in_one_clear_line() -> None:
    with pytest.raises(DelineateError, match="no weights are shipped with nerve") as refused:
        Segmenter("nerve")
    assert "_mode_" not in str(refused.value)


def test_an_unknown_setting_is_answered_with_the_closest(bundle: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'threshold'"):
        Segmenter(bundle, treshold=0.3)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"threshold": 7}, "threshold is 7; set a probability"),
        ({"image_size": 64}, "image_size is 64; set rows and columns"),
        ({"precision": "bananas"}, "set auto, float32 or bfloat16"),
        ({"device": "cuda:99"}, "there is no such device here"),
        ({"max_epochs": 3}, "max_epochs is a setting of training, not of segmentation"),
        ({"inferer::inferer::mode": "bananas"}, "SlidingWindowInferer cannot be made of its settings .*bananas"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_refused_in_one_line(bundle: Path, settings: dict[str, object], reason: str) -> None:
    with pytest.raises(DelineateError, match=reason) as refused:
        Segmenter(bundle, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_a_grid_too_small_for_the_network_is_refused_as_what_a_user_can_put_right(bundle: Path) -> None:
    with pytest.raises(DelineateError, match="this network needs 16 or more a side"):
        list(Segmenter(bundle, device="cpu", image_size=[4, 4]).segment(photo()))


# --- what comes back -----------------------------------------------------------------------------------------


def test_a_result_is_shown_in_one_line(segmenter: Segmenter) -> None:
    text = repr(one(segmenter, photo(400, 300)))
    assert text.startswith("<Segmentation of input 1: 400 x 300, ")
    assert "\n" not in text
    assert len(text) < 150


def test_results_are_saved_into_a_folder_or_as_a_file(segmenter: Segmenter, tmp_path: Path) -> None:
    result = one(segmenter, photo())
    in_folder, as_file = result.save(tmp_path / "masks", overlay=True), result.save(tmp_path / "new" / "mask.png")
    assert in_folder == tmp_path / "masks" / "image_0001_mask.png"
    assert (tmp_path / "masks" / "image_0001_overlay.png").is_file()
    for path in (in_folder, as_file):
        assert np.array_equal(read_mask(path), result.mask)


@pytest.mark.parametrize("name", ["mask.jpg", "mask.nii.gz", "mask.tiff"])
def test_a_mask_is_not_saved_as_what_it_is_not(segmenter: Segmenter, tmp_path: Path, name: str) -> None:
    with pytest.raises(DelineateError, match=r"name it \.png"):
        one(segmenter, photo()).save(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_the_overlay_of_an_array_is_drawn_on_that_array(segmenter: Segmenter) -> None:
    image = photo(40, 50, 3)
    result = one(segmenter, image)
    changed = (result.overlay() != image).any(axis=-1)
    assert changed.any() == bool(result.mask.any())
    assert changed.mean() < 0.5


def test_a_plot_shows_the_overlay(segmenter: Segmenter, tmp_path: Path) -> None:
    result = one(segmenter, photo(40, 50, 3))
    figure = result.plot()
    (axes,) = figure.axes
    assert np.array_equal(np.asarray(axes.images[0].get_array()), result.overlay())
    figure.savefig(tmp_path / "plot.png")
    assert read_image(tmp_path / "plot.png", "rgb").std() > 1


def test_plots_leave_no_figure_open(segmenter: Segmenter) -> None:
    from matplotlib import pyplot

    one(segmenter, photo()).plot()
    assert pyplot.get_fignums() == []


def test_a_plot_goes_where_it_is_told(segmenter: Segmenter) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    left, _ = figure.subplots(1, 2)
    assert one(segmenter, photo()).plot(left) is figure
    assert len(left.images) == 1
