"""Where images come from: `load_data(name)` and the registry of sources.

Each name is imported on first use: processes that only decode files need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rethinklab.lazy import attributes

_WHERE = {
    "DATASETS": "sources", "MEMORY": "sources", "check_dataset": "sources",
    "check_normalise": "sources", "dataset_name": "sources", "load_data": "sources",
    "ImageData": "images", "Images": "images",
    "AnyData": "streamed", "StreamedData": "streamed",
}
_MODULES = ("batches", "cache", "cifar", "decoding", "digits", "folder", "imagenet", "images",
            "listing", "sources", "streamed")

__all__ = ["DATASETS", "MEMORY", "AnyData", "ImageData", "Images", "StreamedData",
           "check_dataset", "check_normalise", "dataset_name", "load_data"]

if TYPE_CHECKING:
    from rethinklab.data.images import ImageData, Images
    from rethinklab.data.sources import (
        DATASETS,
        MEMORY,
        check_dataset,
        check_normalise,
        dataset_name,
        load_data,
    )
    from rethinklab.data.streamed import AnyData, StreamedData

__getattr__ = attributes(__name__, _WHERE, _MODULES)
