"""What a file is, by its suffix and its first bytes: a picture that can be read, or one that has to be named."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import InputError
from ..core.files import denied

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".avif", ".heic", ".heif", ".hif"}
)  # compare in lower case
READABLE = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "AVIF", "HEIF")
"""Pillow's names of what is read; HEIF where pillow-heif is installed."""

KINDS = "JPEG, PNG, TIFF, BMP, WEBP, AVIF or HEIC"

_PNG = "save it as PNG"
_FOREIGN = {
    suffix: (what, remedy)
    for what, remedy, suffixes in (
        ("GIF", f"{_PNG} (each frame as a file of its own)", ".gif .apng .mng"),
        ("JPEG 2000", _PNG, ".jp2 .j2k .j2c .jpc .jpf .jpx"),
        ("JPEG XL", _PNG, ".jxl"),
        ("JPEG XR", _PNG, ".jxr .wdp .hdp"),
        ("a Netpbm picture", _PNG, ".ppm .pgm .pbm .pnm .pam .pfm"),
        ("a picture of a kind", _PNG, ".tga .pcx .dds .qoi .exr .sgi .xbm .xpm .ras .fits .fit .pict .pct"),
        ("an icon", _PNG, ".ico .icns .cur"),
        ("a file of an image editor", _PNG, ".psd .psb .xcf .kra"),
        ("a drawing", "export it as PNG of the size that you want", ".svg .svgz .eps .ai .emf .wmf"),
        (
            "a camera's raw data",
            "develop it and save it as 8-bit PNG",
            ".dng .cr2 .cr3 .crw .nef .nrw .arw .orf .rw2 .raf .pef .srw .x3f .3fr .raw",
        ),
        (
            "a film",
            "save the frames that you want as PNG (ffmpeg -i FILM frame_%05d.png)",
            ".mp4 .m4v .mov .avi .mkv .wmv .mpg .mpeg .webm .3gp .flv .mts .m2ts .ogv .y4m",
        ),
        ("a document", "save the images in it as PNG", ".pdf .djvu .ps"),
        ("an archive", "unpack it", ".zip .tar .tgz .gz .bz2 .tbz2 .xz .txz .7z .rar .zst"),
        (
            "a file of arrays",
            "save each image as PNG and each volume as .nii.gz",
            ".npy .npz .mat .h5 .hdf5 .hdf .tfrecord",
        ),
        (
            "a microscope's or slide scanner's image",
            "export the region that you want as PNG",
            ".svs .ndpi .mrxs .scn .czi .lif .vsi .nd2 .oib .oif .lsm .stk .bif .ims",
        ),
        ("a volume of a kind", "convert it to .nii.gz", ".img .hdr .mgz .mgh .mnc .vtk .vti .par .rec .gipl"),
        ("no DICOM in spite of its name, or of a kind", "copy or export it again", ".ima .dicom .dic"),
    )
    for suffix in suffixes.split()
}

_PLAIN_SUFFIXES = (
    ".txt .csv .tsv .json .jsonl .geojson .xml .html .htm .md .rst .tex .bib .rtf .log .yaml .yml .toml .ini .cfg .py "
    ".conf .ipynb .r .m .sh .bat .js .css .doc .docx .xls .xlsx .ods .odt .ppt .pptx .db .sqlite .lock .part .tmp .bak "
    ".pt .pth .onnx .pkl .safetensors .md5 .sha256 .url .lnk .ttf"
)
_PLAIN = frozenset(_PLAIN_SUFFIXES.split())
"""What is plainly no image, and is passed over without a word."""

_OF_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_SIGNS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", ".gif"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
    (b"\xff\x4f\xff\x51", ".jp2"),
    (b"\0\0\0\x0cJXL ", ".jxl"),
    (b"II\xbc", ".jxr"),
    (b"8BPS", ".psd"),
    (b"SIMPLE  =", ".fits"),
    (b"\x1aE\xdf\xa3", ".mkv"),
    (b"\0\0\1\xba", ".mpg"),
    (b"%PDF", ".pdf"),
    (b"PK\x03\x04", ".zip"),
    (b"\x1f\x8b", ".gz"),
    (b"7z\xbc\xaf", ".7z"),
    (b"Rar!", ".rar"),
    (b"\x93NUMPY", ".npy"),
    (b"\x89HDF", ".h5"),
    (b"MATLAB 5", ".mat"),
)


def is_picture(path: Path) -> bool:
    """Whether a file is one for `read_image`: by its suffix or, where that is none of a picture, by its first bytes."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or _kind_by_content(path) in READABLE


def refuse_foreign(path: Path) -> InputError | None:
    """The refusal of a file that holds images in a form that is not read; ``None`` where it is read, or holds none.

    So is that of a file, unless it is plainly no image, or folder that this user has no right to read. Nothing but a
    regular file is opened.
    """
    suffix = path.suffix.lower()
    if suffix not in _PLAIN and (error := denied(path)):
        return error
    if suffix and suffix not in _PLAIN and not path.is_file():
        missing = "is a link to nothing" if path.is_symlink() else "is no regular file"
        return InputError(path, missing, "copy what it stands for into a file, or remove it")
    key = _kind_by_content(path)
    if key not in _FOREIGN or _belongs_to_header(path):
        return None
    what, remedy = _FOREIGN[key]
    return InputError(path, f"is {what}{' that' if what.endswith('of a kind') else ', which'} is not read", remedy)


def sniff(path: Path) -> str:
    """What the first bytes of a regular file are: one of `READABLE`, ``DICOM``, a suffix, or ``""`` for all else."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return sniff_bytes(file.read(132))
    except (OSError, ValueError):
        return ""


def sniff_bytes(start: bytes) -> str:
    """As `sniff`, of the first 132 bytes."""
    if start[128:132] == b"DICM":  # its preamble may be that of a TIFF
        return "DICOM"
    if start[4:8] == b"ftyp":
        return _boxed(start)
    if start[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"AVI ": ".avi"}.get(start[8:12], "")
    if start[:2] == b"BM" and start[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "BMP"
    return next((kind for sign, kind in _SIGNS if start.startswith(sign)), "")


def name_of(key: str) -> str:
    """What `sniff` found, in words; ``""`` for nothing known."""
    return _FOREIGN[key][0] if key in _FOREIGN else key


def _boxed(start: bytes) -> str:
    """The kind of an ISO base media file, by its brands."""
    brand, brands = start[8:12], start[8 : int.from_bytes(start[:4], "big")]
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in brands):
        return "AVIF"
    if brand in _OF_HEIF:
        return "HEIF"
    return {b"crx ": ".cr3", b"jp2 ": ".jp2", b"jpx ": ".jp2"}.get(brand, ".mp4")


def _kind_by_content(path: Path) -> str:
    """What a file is whose suffix is none of a picture's: by its first bytes, where these tell, else by the suffix."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or suffix in _PLAIN or Path(path.stem).suffix.lower() in _PLAIN:
        return ""
    found = sniff(path)
    if found in _FOREIGN and found not in (".zip", ".gz", ".tar"):
        return found
    if found in READABLE and not (found == "TIFF" and suffix in _FOREIGN):  # raw data and slides are TIFF outside
        return found
    if found == "DICOM":
        return ""
    return suffix or found


def _belongs_to_header(path: Path) -> bool:
    """Whether the file holds the voxels of a MetaImage or NRRD header beside it."""
    stems = {path.with_suffix(""), path.with_suffix("").with_suffix("")}
    return any(Path(f"{stem}{suffix}").is_file() for stem in stems for suffix in (".mhd", ".nhdr"))
