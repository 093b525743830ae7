"""The networks of the study: `build_model(name)` and the registry."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.models.vgg import LAYOUTS, build_vgg
from rethinklab.seeds import global_stream

__all__ = ["MODELS", "build_model", "check_model", "source_digest"]

OWN_MODEL = "or your own as package.module:function"

MODELS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    name: (partial(build_vgg, name), f"VGG-{name[3:]} for 32x32 images, with batch normalisation")
    for name in LAYOUTS
}


def check_model(name: str) -> str:
    """`name` where it is in the registry or has the form "module:function"."""
    if name not in MODELS and ":" not in str(name):
        raise unknown_name("model", name, [*MODELS, OWN_MODEL])
    return name


def build_model(name: str, *, num_classes: int = 10, width: float = 1.0, seed: int = 0,
                **options: Any) -> nn.Module:
    """A network with fresh weights, drawn from the seed's "init" stream.

    name: from the registry, or "package.module:function" for your own, which is called with
    num_classes (and width, where it is not 1) and the options. width: multiplies all widths.
    options: of the family, such as in_channels, or for VGG variant and widths.
    Raises ConfigError for an unknown name or a value that the network cannot take.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ConfigError(f"num_classes {num_classes!r} must be a whole number, 2 or more.")
    if not isinstance(width, (int, float)) or isinstance(width, bool) or not 0 < width <= 16:
        raise ConfigError(f"width {width!r} must be a number above 0 and at most 16.")
    own = ":" in check_model(name)
    builder = _import_builder(name) if own else MODELS[name][0]
    settings = {"num_classes": num_classes, **options}
    if not own or width != 1:
        settings["width"] = width
    with global_stream(seed, "init"):
        try:
            model = builder(**settings)
        except ConfigError:
            raise
        except Exception as error:  # whatever the user's own builder raises
            raise ConfigError(f"model {name!r} cannot be built with "
                              f"{', '.join(sorted(settings))} ({type(error).__name__}: {error})."
                              ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model {name!r} gave a {type(model).__name__}, not an nn.Module.")
    model.architecture = name  # type: ignore[assignment]
    return model


def source_digest(name: str) -> str:
    """A hash of the file that defines your own model, so that an edited one is a new one; empty
    for the kit's networks. What that file imports is not looked at."""
    if name in MODELS:
        return ""
    file = inspect.getsourcefile(inspect.unwrap(_import_builder(name)))
    content = Path(file).read_bytes() if file else name.encode()
    return hashlib.sha256(content).hexdigest()[:16]


def _import_builder(name: str) -> Callable[..., nn.Module]:
    module_name, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` does; a script's folder is another
    try:
        return getattr(importlib.import_module(module_name), function)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"model {name!r} cannot be imported ({error}). Give "
                          "\"package.module:function\" of an importable module.") from error
