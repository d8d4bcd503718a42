"""Data sets: layouts as downloaded, the datalist, splits, caches, phantoms."""
