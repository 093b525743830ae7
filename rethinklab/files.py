"""Writing files: whole or not at all, and tensors as data that nothing could run on loading."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` so that a reader sees the old one or the new, never a part. Raises OSError,
    and leaves the old one, where the file cannot be written."""
    for last in (False, False, True):
        draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}.tmp")
        try:
            draft.write_bytes(content.encode() if isinstance(content, str) else content)
            os.replace(draft, path)
            return
        except FileNotFoundError:  # a clean-up elsewhere took the draft for a leftover
            if last:
                raise
        finally:
            draft.unlink(missing_ok=True)


def save_tensors(tensors: Mapping[str, Tensor], path: Path,
                 about: Mapping[str, str] | None = None) -> None:
    """Tensors as safetensors, with what the header says about them. Raises OSError where the file
    cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    try:
        save_file(own, path, dict(about) if about else None)
    except SafetensorError as error:  # also of a full disk
        raise OSError(str(error)) from error
