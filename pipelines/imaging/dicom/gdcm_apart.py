"""The program that decodes JPEG lossless and JPEG-LS with GDCM, in a process of its own; it imports nothing of ours."""

import json


def answer(request: bytes) -> bytes:
    """The values of a frame: a line of JSON with the facts of `jpeg_lossless.Frame`, then the codestream."""
    facts, _, codestream = request.partition(b"\n")
    return _decode(codestream, **json.loads(facts))


def _decode(
    codestream: bytes,
    rows: int,
    columns: int,
    samples: int,
    allocated: int,
    stored: int,
    signed: int,
    photometric: str,
    transfer_syntax: str,
) -> bytes:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.GetPIType(photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(transfer_syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, stored, stored - 1, signed))
    values: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")  # gdcm gives bytes as text
    return values
