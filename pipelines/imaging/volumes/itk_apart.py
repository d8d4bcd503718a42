"""The program that asks SimpleITK where a volume lies, in a process of its own; it imports nothing of ours."""

import json
from typing import Any


def answer(request: bytes) -> bytes:
    """What a header says, as JSON: of the file and the reader that the request, JSON too, names."""
    return json.dumps(_facts(**json.loads(request))).encode()


def _facts(file: str, reader: str) -> dict[str, Any]:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image = sitk.ImageFileReader()
    image.SetImageIO(reader)
    image.SetFileName(file)
    image.ReadImageInformation()
    return {
        "size": image.GetSize(),
        "components": image.GetNumberOfComponents(),
        "type": sitk.GetPixelIDValueAsString(image.GetPixelID()),
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
    }
