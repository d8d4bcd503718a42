"""Pixels from any file, and masks back into one: pictures, DICOM, volumes."""
