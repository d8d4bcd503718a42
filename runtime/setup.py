"""delineate-runtime: Delineate's own code, and of what it needs only what it takes to segment with exported bundles."""

import re
from pathlib import Path

from setuptools import setup
from setuptools.compat.py310 import tomllib

NEEDED = [
    "jsonschema",
    "lazy-loader",
    "nibabel",
    "numpy",
    "onnxruntime",
    "pillow",
    "pydicom",
    "pyyaml",
    "rich",
    "ruamel.yaml",
    "typer",
]
WITHOUT = ("delineate.bundles",)  # shipped bundles have no graphs; their weights would be of no use
EXTRAS = {
    "dicom": ["dicomweb-client", "highdicom", "requests"],  # DICOM objects, DICOMweb
    "heif": ["pillow-heif"],
    "jpeg": ["python-gdcm"],  # JPEG lossless and JPEG-LS in DICOM
    "volumes": ["SimpleITK"],  # MHA, NRRD
}

above = tomllib.loads(Path("../pyproject.toml").read_text(encoding="utf-8"))
project, tree = above["project"], above["tool"]["setuptools"]
every = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
lines = {re.split(r"[^\w.-]", line)[0].lower(): line for line in reversed(every)} | {"jsonschema": "jsonschema>=4"}

setup(
    version=project["version"],
    packages=tree["packages"],
    package_dir={name: f"../{folder}" for name, folder in tree["package-dir"].items()},
    package_data={name: what for name, what in tree["package-data"].items() if name not in WITHOUT},
    install_requires=[lines[name] for name in NEEDED],
    extras_require={extra: [lines.get(name.lower(), name) for name in names] for extra, names in EXTRAS.items()},
)
