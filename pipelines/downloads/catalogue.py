"""Public data sets: whose they are, under what licence, where they lie.

What is not known is ``None``, never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Args:
        url: its https address.
        size: bytes, as far as known; a file may have become twice as large, as a changed file may be a good one.
        md5: the sum that the publisher shows, 32 hex digits; ``None`` where there is none.
        holds: the folder in the archive that is wanted; ``None`` for a file that is no archive.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    holds: str | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.url).name


@dataclass(frozen=True)
class RemoteDataset:
    """A data set, as shown to who wants to download it.

    Args:
        title: its full name.
        page: where its publisher describes it.
        licence: as the publisher states it, or what is known instead.
        terms: what the licence asks, in a sentence.
        citation: the works to cite.
        files: in the order of their download; empty where an account is needed.
        account: how to come by it where an account is needed; ``{folder}`` stands for the folder to unpack into.
    """

    title: str
    page: str
    licence: str
    terms: str
    citation: tuple[str, ...]
    files: tuple[RemoteFile, ...] = ()
    account: str | None = None

    @property
    def size(self) -> int | None:
        """Bytes of all files; ``None`` where one is not known."""
        sizes = [file.size for file in self.files if file.size is not None]
        return sum(sizes) if sizes and len(sizes) == len(self.files) else None


def _isic(name: str, size: int) -> RemoteFile:
    return RemoteFile(f"https://isic-archive.s3.amazonaws.com/challenges/2018/{name}.zip", size, holds=name)


def _hc18(name: str, size: int, md5: str, holds: str | None = None) -> RemoteFile:
    return RemoteFile(f"https://zenodo.org/records/1327317/files/{name}", size, md5, holds)


DATASETS: dict[str, RemoteDataset] = {
    "isic2018": RemoteDataset(
        "ISIC 2018, task 1: lesion segmentation (2594 training, 100 validation, 1000 test images)",
        "https://challenge.isic-archive.com/data/#2018",
        "stated as CC0 in some places and as CC BY-NC 4.0 in others; LICENSE.txt in the archives counts",
        "Take it as CC BY-NC 4.0 unless you have read otherwise: name the source, no commercial use.",
        (
            "Codella N et al. Skin Lesion Analysis Toward Melanoma Detection 2018. arXiv:1902.03368",
            "Tschandl P, Rosendahl C, Kittler H. The HAM10000 dataset. Sci Data 5:180161 (2018). "
            "doi:10.1038/sdata.2018.161",
        ),
        (  # the publisher shows no sums
            _isic("ISIC2018_Task1_Training_GroundTruth", 27_402_895),
            _isic("ISIC2018_Task1_Validation_GroundTruth", 759_706),
            _isic("ISIC2018_Task1_Test_GroundTruth", 9_680_101),
            _isic("ISIC2018_Task1-2_Validation_Input", 239_231_159),
            _isic("ISIC2018_Task1-2_Test_Input", 2_370_457_338),
            _isic("ISIC2018_Task1-2_Training_Input", 11_165_358_566),
        ),
    ),
    "busi": RemoteDataset(
        "BUSI: breast ultrasound images (780 images: benign, malignant, normal)",
        "https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        "none known of the data; the article that describes them is CC BY 4.0",
        "Cite the article. Ask its authors before any use but research.",
        (
            "Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images. "
            "Data in Brief 28:104863 (2020). doi:10.1016/j.dib.2019.104863",
        ),
        # the publisher shows neither sum nor size
        (RemoteFile("https://scholar.cu.edu.eg/Dataset_BUSI.zip", holds="Dataset_BUSI_with_GT"),),
    ),
    "hc18": RemoteDataset(
        "HC18: fetal head circumference in ultrasound (the 999 labelled training images)",
        "https://zenodo.org/records/1327317",
        "CC BY 4.0",
        "Name the authors and the source; say what you changed.",
        (
            "van den Heuvel TLA, de Bruijn D, de Korte CL, van Ginneken B. Automated measurement of fetal head "
            "circumference using 2D ultrasound images. PLoS ONE 13(8):e0200412 (2018). "
            "doi:10.1371/journal.pone.0200412, doi:10.5281/zenodo.1327317",
        ),
        (  # sums and sizes as on the record's page
            _hc18("training_set_pixel_size_and_HC.csv", 33_688, "c0761518fece2bd2d2ad4218f2cd9777"),
            _hc18("training_set.zip", 132_926_838, "00eb8198b9a505b2b3a6dfc740382497", "training_set"),
        ),
    ),
    "nerve": RemoteDataset(
        "Kaggle Ultrasound Nerve Segmentation (2016): the brachial plexus",
        "https://www.kaggle.com/c/ultrasound-nerve-segmentation",
        "the competition's rules, which each user accepts on Kaggle",
        "Read the rules: they say what the data may be used for; no right to pass them on is known.",
        ("Kaggle. Ultrasound Nerve Segmentation (2016). https://www.kaggle.com/c/ultrasound-nerve-segmentation",),
        account="""\
1. Sign in at https://www.kaggle.com (an account is free).
2. Accept the rules: https://www.kaggle.com/c/ultrasound-nerve-segmentation/rules
3. Make a token (Settings, API) and put it where the page says; pip install kaggle
4. kaggle competitions download -c ultrasound-nerve-segmentation
5. unzip ultrasound-nerve-segmentation.zip -d {folder}""",
    ),
}
