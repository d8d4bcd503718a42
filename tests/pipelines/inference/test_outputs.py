from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import element, write_image, write_series
from monai.data import MetaTensor
from PIL import Image
from segmentations import segmentation, several

from delineate.pipelines.core.errors import DelineateError
from delineate.pipelines.imaging.item import Item
from delineate.pipelines.imaging.overlay import draw_outline
from delineate.pipelines.imaging.structures import structures_of
from delineate.pipelines.imaging.volumes.formats import read_volume
from delineate.pipelines.imaging.volumes.slicing import Axis, Slicing
from delineate.pipelines.imaging.volumes.volume import Volume
from delineate.pipelines.imaging.volumes.windows import PRESETS, Window, show
from delineate.pipelines.imaging.writers import VolumeFormat
from delineate.pipelines.inference.assembler import Assembler
from delineate.pipelines.inference.inputs import find_images
from delineate.pipelines.inference.outputs import Segmentation, write_segmentation
from delineate.pipelines.loading.transforms import ReadImaged

RNG = np.random.default_rng(0)
MASK = RNG.integers(0, 2, (20, 33), dtype=np.uint8)
PROBABILITY = RNG.random((20, 33), dtype=np.float32)


@pytest.fixture
def result(tmp_path: Path) -> Segmentation:
    source = tmp_path / "photo.png"
    Image.fromarray(RNG.integers(0, 256, (20, 33, 3), dtype=np.uint8)).save(source)
    return segmentation(source, MASK, PROBABILITY)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_a_mask_comes_back_as_it_was_as_0_and_255(tmp_path: Path, result: Segmentation) -> None:
    path = write_segmentation(result, tmp_path / "out")
    assert path == tmp_path / "out/photo_mask.png"
    assert read(path).dtype == np.uint8
    assert np.array_equal(read(path), MASK * 255)


def test_only_the_mask_is_written_unless_asked(tmp_path: Path, result: Segmentation) -> None:
    write_segmentation(result, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["photo_mask.png"]


def test_probabilities_have_16_bits(tmp_path: Path, result: Segmentation) -> None:
    write_segmentation(result, tmp_path / "out", probability=True)
    stored = read(tmp_path / "out/photo_probability.png")
    assert stored.max() > 255
    np.testing.assert_allclose(stored / 65535, PROBABILITY, atol=0.5 / 65535 + 1e-7)


def test_the_ends_of_probability_are_exact(tmp_path: Path, result: Segmentation) -> None:
    ends = np.zeros((20, 33), np.float32)
    ends[0] = 1
    write_segmentation(segmentation(result.source, MASK, ends, "ends"), tmp_path, probability=True)
    assert np.unique(read(tmp_path / "ends_probability.png")).tolist() == [0, 65535]


def test_the_overlay_is_the_image_with_an_outline(tmp_path: Path, result: Segmentation) -> None:
    mask = np.zeros((20, 33), np.uint8)
    mask[5:15, 8:25] = 1
    write_segmentation(segmentation(result.source, mask, PROBABILITY), tmp_path / "out", overlay=True)
    overlay, photo = read(tmp_path / "out/photo_overlay.png"), read(Path(result.source))
    assert overlay.shape == photo.shape
    assert not np.array_equal(overlay, photo)
    assert np.array_equal(overlay[:2], photo[:2])


@pytest.mark.parametrize("name", ["patient 1/left/photo", "a.b", "photo[1]", "photo.jpg", "Lésion"])
def test_folders_and_odd_names_are_kept(tmp_path: Path, result: Segmentation, name: str) -> None:
    path = write_segmentation(
        segmentation(result.source, MASK, PROBABILITY, name), tmp_path / "out", overlay=True, probability=True
    )
    assert path == tmp_path / f"out/{name}_mask.png"
    assert len(list(path.parent.iterdir())) == 3


def output(**more: Any) -> dict[str, Any]:
    image = MetaTensor(torch.zeros(3, 8, 8), meta={"filename_or_obj": "folder/photo.x.png"})
    pred, probability = torch.tensor(MASK, dtype=torch.float32)[None], torch.tensor(PROBABILITY)[None]
    return {"image": image, "pred": MetaTensor(pred), "probability": MetaTensor(probability), **more}


def test_an_output_becomes_a_result() -> None:
    result = Segmentation.from_output(output(name="sub/photo"))
    assert (result.source, result.name) == ("folder/photo.x.png", "sub/photo")
    assert (result.mask.dtype, result.probability.dtype) == (np.uint8, np.float32)
    assert np.array_equal(result.mask, MASK)
    assert np.array_equal(result.probability, PROBABILITY)


def test_an_output_without_a_name_is_called_after_its_file() -> None:
    assert Segmentation.from_output(output()).name == "photo.x"


def test_what_is_printed_tells_frames_and_series_apart(tmp_path: Path) -> None:
    def label(source: str, volume: bool = False, **item: Any) -> str:
        grid = Volume(Path(source), np.zeros((2, 2, 2)), np.eye(4)) if volume else None
        return segmentation(source, MASK, PROBABILITY, item=Item.of(source, **item), volume=grid).label

    assert label("a.png") == "a.png"
    assert label("a\nb.dcm", slice=4) == r"a\nb.dcm (frame 5)"
    assert label(str(tmp_path), True, series="1.2.3", slice=0) == f"{tmp_path} (series 1.2.3)"
    assert label(str(tmp_path), True, series="../..").startswith(f"{tmp_path} (series no UID, SHA-256 ")
    assert label("ct.nii.gz", True, slice=0) == "ct.nii.gz"


# volumes

HU = RNG.integers(-1000, 1000, (6, 5, 4), dtype=np.int16)
LPS = np.array([[-1.5, 0, 0, 3], [0, -2, 0, 5], [0, 0, 4, -7], [0, 0, 0, 1]])
OBLIQUE = np.array([[0, 0.3, 2.9, 1], [1.9, 0.2, 0, -8], [-0.1, 1.4, -0.3, 40], [0, 0, 0, 1]])
WINDOW = Slicing("axial", [0, 2000])
BRIGHT = show(HU, Window(-1000, 1000)) > 127


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, LPS), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def outputs(source: Path, slicing: Slicing = WINDOW) -> list[dict[str, Any]]:
    """What a network that finds bright pixels leaves of each slice or image."""
    found = []
    for item in find_images(source, pytest.fail, slicing):
        image = ReadImaged("image", "grey", slicing.as_dict())(item)["image"]
        probability = MetaTensor(image.as_tensor()[slicing.neighbours][None] / 255)
        pred = (probability > 0.5).float()
        found.append({"name": item["name"], "image": image, "pred": pred, "probability": probability})
    return found


def assembled(source: Path, slicing: Slicing = WINDOW) -> list[Segmentation]:
    assembler = Assembler()
    return [result for one in outputs(source, slicing) if (result := assembler.add(one))]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("affine", [LPS, np.diag([1.5, 2, 4, 1]), OBLIQUE], ids=["LPS", "RAS", "oblique"])
def test_slices_come_together_where_they_were_cut(tmp_path: Path, axis: Axis, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(HU, affine), tmp_path / "ct.nii")
    (result,) = assembled(tmp_path / "ct.nii", Slicing(axis, [0, 2000], neighbours=1))
    np.testing.assert_array_equal(result.mask, BRIGHT)
    np.testing.assert_array_equal(result.probability * 255, show(HU, Window(-1000, 1000)))
    assert (result.mask.dtype, result.probability.dtype) == (np.uint8, np.float32)


def test_a_volume_is_given_out_with_its_last_slice(ct: Path) -> None:
    assembler = Assembler()
    assert [assembler.add(one) is not None for one in outputs(ct)] == [False, False, False, True]


def test_a_volume_that_lacks_a_slice_is_never_given_out(ct: Path) -> None:
    assembler = Assembler()
    assert [assembler.add(one) for one in outputs(ct)[:-1]] == [None] * 3


def test_slices_of_several_volumes_may_come_mixed(tmp_path: Path, ct: Path) -> None:
    nib.save(nib.Nifti1Image(HU[::-1].copy(), LPS), tmp_path / "mr.nii")
    assembler = Assembler()
    every = sorted(outputs(ct) + outputs(tmp_path / "mr.nii"), key=lambda one: -int(one["image"].meta["slice"]))
    ct_result, mr_result = (result for one in every if (result := assembler.add(one)))
    np.testing.assert_array_equal(ct_result.mask, BRIGHT)
    np.testing.assert_array_equal(mr_result.mask, BRIGHT[::-1])


def test_other_images_pass_an_assembler(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 200, np.uint8)).save(tmp_path / "photo.png")
    write_image(tmp_path / "cine", np.full((3, 5, 7), 200, np.uint8), PixelSpacing=["0.5", "0.25"])
    results = assembled(tmp_path)
    assert [result.name for result in results] == ["cine_frame_1", "cine_frame_2", "cine_frame_3", "photo"]
    assert [result.mask.shape for result in results] == [(5, 7)] * 3 + [(4, 6)]
    assert [result.extent for result in results[2:]] == [
        "35 pixels, 4.4 mm²",
        "24 pixels; pixel size unknown",
    ]


@pytest.mark.parametrize(
    ("attributes", "extent"),
    [
        ({"ImagerPixelSpacing": ["0.5", "0.5"]}, "35 pixels, 8.8 mm² in the detector plane, not corrected"),
        ({"PixelSpacing": ["0.5", "0.5"], "Modality": "DX"}, "35 pixels, 8.8 mm² in the detector plane, not corrected"),
        (
            {
                "SequenceOfUltrasoundRegions": [
                    element(
                        PhysicalUnitsXDirection=3,
                        PhysicalUnitsYDirection=3,
                        PhysicalDeltaX=0.05,
                        PhysicalDeltaY=0.05,
                    )
                ]
            },
            "35 pixels, 8.8 mm² by the calibration of its ultrasound region",
        ),
    ],
)
def test_an_extent_says_where_it_holds(tmp_path: Path, attributes: dict[str, Any], extent: str) -> None:
    write_image(tmp_path / "xray", np.full((5, 7), 200, np.uint8), **attributes)
    (result,) = assembled(tmp_path)
    assert result.extent.startswith(extent)


def test_the_extent_of_a_volume_is_in_ml(ct: Path) -> None:
    (result,) = assembled(ct)
    assert result.spacing == pytest.approx((1.5, 2, 4))
    assert result.extent == f"{BRIGHT.sum()} voxels, {BRIGHT.sum() * 12 / 1000:.2f} ml"


def test_a_volume_is_written_on_its_own_grid(tmp_path: Path, ct: Path) -> None:
    (result,) = assembled(ct)
    path = write_segmentation(result, tmp_path / "out", probability=True)
    assert sorted(file.name for file in path.parent.iterdir()) == ["ct_mask.nii.gz", "ct_probability.nii.gz"]
    mask, source = nib.load(path), nib.load(ct)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), BRIGHT)
    np.testing.assert_array_equal(mask.affine, source.affine)
    probability = nib.load(tmp_path / "out/ct_probability.nii.gz")
    assert (mask.get_data_dtype(), probability.get_data_dtype()) == (np.uint8, np.float32)
    np.testing.assert_array_equal(np.asarray(probability.dataobj), result.probability)


@pytest.mark.parametrize("name", ["nii", "nrrd", "mha"])
def test_other_formats_lie_where_the_source_lies(tmp_path: Path, ct: Path, name: VolumeFormat) -> None:
    (result,) = assembled(ct)
    path = write_segmentation(result, tmp_path / "out/sub", volume_format=name)
    assert path == tmp_path / f"out/sub/ct_mask.{name}"
    mask, source = (sitk.ReadImage(str(file)) for file in (path, ct))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), BRIGHT.transpose(2, 1, 0))
    for facts in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, facts)(), getattr(source, facts)(), atol=1e-6)


def test_a_series_is_written_where_it_lies_in_the_patient(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU, LPS)
    (result,) = assembled(tmp_path)
    written = read_volume(write_segmentation(result, tmp_path / "out", overlay=True))
    np.testing.assert_array_equal(written.voxels, BRIGHT)
    np.testing.assert_allclose(written.affine, LPS, atol=1e-5)
    assert read(tmp_path / "out/ct_overlay.png").shape == (5, 6, 3)


@pytest.mark.parametrize("windows", ["abdomen", ["abdomen", "brain"]])
def test_the_overlay_of_modalities_is_the_first_where_most_is_foreground(tmp_path: Path, windows: Any) -> None:
    voxels = RNG.integers(-100, 40, (30, 25, 4), dtype=np.int16)
    voxels[5:15, 5:15, 2], voxels[5:8, 5:8, 1] = 2000, 2000
    for number, values in enumerate((voxels, -voxels)):
        nib.save(nib.Nifti1Image(values, LPS), tmp_path / f"ct_000{number}.nii.gz")
    (result,) = assembled(tmp_path, Slicing("axial", windows, modalities=2))
    write_segmentation(result, tmp_path / "out", overlay=True)
    shown = np.repeat(show(voxels[..., 2].T, PRESETS["abdomen"])[..., None], 3, axis=2)
    expected = draw_outline(shown, (voxels[..., 2].T > 40).astype(np.uint8))
    np.testing.assert_array_equal(read(tmp_path / "out/ct_overlay.png"), expected)


def test_the_overlay_of_a_frame_is_that_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "cine.dcm", np.stack([np.full((20, 20), grey, np.uint8) for grey in (10, 90)]))
    for result, grey in zip(assembled(tmp_path, Slicing()), (10, 90), strict=True):
        write_segmentation(result, tmp_path / "out", overlay=True)
        assert (read(tmp_path / f"out/{result.name}_overlay.png") == grey).all()


# several structures

SMALL, OTHER = np.zeros((20, 33), np.uint8), np.zeros((20, 33), np.uint8)
SMALL[5:15, 8:12], OTHER[5:15, 20:30] = 1, 1


@pytest.fixture
def chest(result: Segmentation) -> Segmentation:
    return several(result.source, {"heart": SMALL, "left lung": OTHER})


def test_an_output_of_several_channels_has_a_mask_a_structure() -> None:
    pred = MetaTensor(torch.tensor(np.stack([SMALL, OTHER])))
    named = structures_of([{"name": "heart"}, {"name": "left lung"}])
    result = Segmentation.from_output(output(pred=pred, probability=MetaTensor(pred / 2)), named)
    assert list(result.masks) == list(result.probabilities) == ["heart", "left lung"]
    assert np.array_equal(result.masks["left lung"], OTHER)
    assert np.array_equal(result.probabilities["heart"], SMALL / np.float32(2))
    assert result.structures == named


@pytest.mark.parametrize("attribute", ["masks", "probabilities", "sizes"])
def test_a_structure_that_is_not_there_is_refused_with_the_names_that_are(chest: Segmentation, attribute: str) -> None:
    wanted = "^no structure is called 'left_lung'; did you mean 'left lung'\\? there are: heart, left lung$"
    with pytest.raises(DelineateError, match=wanted) as refused:
        getattr(chest, attribute)["left_lung"]
    assert isinstance(refused.value, KeyError)
    assert "left_lung" not in getattr(chest, attribute)


def test_the_only_structure_without_a_name_has_none_to_ask_for(result: Segmentation) -> None:
    with pytest.raises(KeyError, match=r"^no structure is called 'heart'; there is one, and it has no name$"):
        result.masks["heart"]


@pytest.mark.parametrize("attribute", ["mask", "probability", "size"])
def test_the_one_mask_is_that_of_one_structure_alone(result: Segmentation, chest: Segmentation, attribute: str) -> None:
    assert getattr(result, attribute) is not None
    with pytest.raises(
        DelineateError, match=r"has 2 structures \(heart, left lung\); take one, e.g. result\..*'heart'"
    ):
        getattr(chest, attribute)


def test_each_structure_is_told_with_its_extent(chest: Segmentation) -> None:
    assert chest.sizes == {"heart": (40, "pixels"), "left lung": (100, "pixels")}
    assert repr(chest).endswith(": 20 x 33, heart 40 pixels; left lung 100 pixels; pixel size unknown>")
    known = replace(chest, spacing=(0.5, 0.5))
    assert known.extent == "heart 40 pixels, 10.0 mm²; left lung 100 pixels, 25.0 mm²"


def test_several_masks_go_into_a_folder_or_as_a_label_map_into_a_file(tmp_path: Path, chest: Segmentation) -> None:
    assert chest.save(tmp_path / "out", overlay=True) == tmp_path / "out/photo_heart_mask.png"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("photo_heart_mask.png", "photo_left_lung_mask.png", "photo_overlay.png")
    ]
    with pytest.raises(DelineateError, match="name a folder, or add label_map=True"):
        chest.save(tmp_path / "one.png")
    assert np.array_equal(read(chest.save(tmp_path / "one.png", label_map=True)), SMALL + 2 * OTHER)


def test_the_overlay_of_several_is_that_of_each_with_their_names_below(chest: Segmentation) -> None:
    overlay, photo = chest.overlay(), read(Path(chest.source))
    assert overlay.shape[0] > photo.shape[0]
    assert np.array_equal(overlay[:4, :33], photo[:4])
    assert len(chest.plot().axes[0].get_title().splitlines()) == 3


def test_slices_of_several_structures_come_together(ct: Path, tmp_path: Path) -> None:
    assembler, results = Assembler([{"name": "bright"}, {"name": "dark"}]), []
    for one in outputs(ct):
        both = {key: torch.cat([one[key], 1 - one[key]]) for key in ("pred", "probability")}
        results.append(assembler.add({**one, **both}))
    assert results[:-1] == [None] * 3
    (result,) = results[-1:]
    assert result is not None
    np.testing.assert_array_equal(result.masks["bright"], BRIGHT)
    np.testing.assert_array_equal(result.masks["dark"], ~BRIGHT)
    path = write_segmentation(result, tmp_path / "out", label_map=True, overlay=True)
    assert path.name == "ct_labels.nii.gz"
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), 2 - BRIGHT)
    np.testing.assert_array_equal(nib.load(path).affine, nib.load(ct).affine)
