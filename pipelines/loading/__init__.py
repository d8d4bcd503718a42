"""From an item of a data list to a batch: transforms, data sets, caches."""

from lazy_loader import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    submod_attrs={
        "caches": ["cached_dataset"],
        "datasets": ["AugmentedDataset", "EpochSampler", "StreamDataset", "load_datalist"],
        "transforms": ["ReadImaged", "ReadMaskd", "ResizeToGridd", "StructureMasksd"],
        "unlabelled": ["load_unlabelled"],
    },
)
