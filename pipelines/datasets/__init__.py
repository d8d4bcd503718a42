"""Data sets: labelled images found, checked, split, and written down in a ``datalist.json``."""
