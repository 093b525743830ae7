"""ImageNet, or a folder laid out like it, streamed from its files.

It is not downloaded: its licence wants a registration (https://image-net.org).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rethinklab.data.folder import check_size
from rethinklab.data.listing import find_parts, list_parts
from rethinklab.data.streamed import FileImages, StreamedData
from rethinklab.errors import DataError

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 224


def load(path: str | Path, size: int | None = None, **options: Any) -> StreamedData:
    """The images under `path/train/CLASS/...` and `path/val/CLASS/...` as the study sees them.

    Training: a random crop of 8 to 100 per cent of the area resized to `size`, by default 224,
    and a horizontal flip. Testing: the shorter side resized to 256/224 of `size`, then the
    central square. Parts may have the names that `find_parts` knows. Photographs are turned as
    their EXIF orientation says, which the released code does not do.
    Raises DataError where a part is missing or ambiguous or the parts differ in classes.
    Source: Liu et al. (ICLR 2019), section 4, and its released code.
    """
    size = SIZE if size is None else check_size(size)
    try:
        root = Path(path).expanduser().absolute()
        training, held = find_parts(root)
        if held is None:
            raise DataError(f"{root} needs the folders train and val, each with one sub-folder a "
                            "class; for images without such a split say folder:PATH.")
        train, test = list_parts(training, held)
        return StreamedData(f"imagenet:{root.name}", FileImages.listed(root, train),
                            FileImages.listed(root, test), train.classes, MEAN, STD, size)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of an unknown user
        raise DataError(f"the images in {path} cannot be read ({error}).") from error
