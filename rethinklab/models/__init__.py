"""The networks of the study: `build_model(name)` and the registry."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.models import densenet, preresnet, published, resnet, vgg
from rethinklab.own import code_digest, import_named, name_of
from rethinklab.seeds import global_stream
from rethinklab.values import number, plain, whole

__all__ = ["MODELS", "build_model", "check_model", "model_name", "source_digest"]

OWN_MODEL = "or your own as package.module:function"


def _on_torchvision(function: str, name: str, **settings: Any) -> nn.Module:
    """The network that `function` of the module `imagenet` builds; torchvision loads now."""
    module = importlib.import_module("rethinklab.models.imagenet")
    return getattr(module, function)(name, **settings)


Builder = Callable[..., nn.Module]

MODELS: dict[str, tuple[Builder, str]] = {
    **{name: (partial(vgg.build_vgg, name),
              f"VGG-{name[3:]} for 32x32 images, with batch normalisation")
       for name in vgg.LAYOUTS},
    **{name: (partial(resnet.build_resnet, name),
              f"ResNet-{depth} for 32x32 images, basic blocks")
       for name, depth in resnet.DEPTHS.items()},
    **{name: (partial(preresnet.build_preresnet, name),
              f"Pre-activation ResNet-{depth} for 32x32 images, bottleneck blocks")
       for name, depth in preresnet.DEPTHS.items()},
    "densenet40": (partial(densenet.build_densenet, "densenet40"),
                   "DenseNet-40 for 32x32 images, growth 12"),
    "densenet_bc100": (partial(densenet.build_densenet, "densenet_bc100"),
                       "DenseNet-BC-100 for 32x32 images, growth 12, bottleneck layers"),
    **{name: (partial(_on_torchvision, "build_resnet", name),
              f"ResNet-{name[6:]} for ImageNet, torchvision's")
       for name in ("resnet18", "resnet34", "resnet50")},
    **{f"vgg{depth}_bn": (partial(_on_torchvision, "build_vgg", f"vgg{depth}"),
                          f"VGG-{depth} for ImageNet, torchvision's, with batch normalisation")
       for depth in (11, 16)},
    **{f"imagenet_vgg{depth}": (
        partial(_on_torchvision, "build_vgg", f"vgg{depth}", batch_norm=False),
        f"VGG-{depth} for ImageNet, torchvision's, without batch normalisation")
       for depth in (11, 16)},
    "preresnet50": (preresnet.build_preresnet50,
                    "Pre-activation ResNet-50 for ImageNet, of sparse structure selection"),
    **{name: (partial(published.build_published, name), text)
       for name, text in published.DESCRIPTIONS.items()},
}


def check_model(name: str) -> str:
    """`name` where it is in the registry or has the form "module:function"."""
    if name not in MODELS and ":" not in str(name):
        raise unknown_name("model", name, [*MODELS, OWN_MODEL])
    return name


def model_name(model: Any) -> str:
    """The name of a network that is given by its name or by the function or class that builds it.

    Raises ConfigError for a network itself, and for a builder that no name leads to.
    """
    if isinstance(model, str):
        return check_model(model)
    if isinstance(model, nn.Module) or not callable(model):
        raise ConfigError(f"model must be a name or what builds the network, not {_kind(model)}, "
                          "since every seed starts from new weights; give the function that makes "
                          "it from num_classes, or its class.")
    return name_of("model", model)


def _kind(thing: Any) -> str:
    return (f"a network that is built already ({type(thing).__name__})"
            if isinstance(thing, nn.Module) else repr(thing))


def build_model(name: str, *, num_classes: int = 10, width: float = 1.0, seed: int = 0,
                **options: Any) -> nn.Module:
    """A network with fresh weights, drawn from the seed's "init" stream.

    name: from the registry, or "package.module:function" for your own, which is called with
    num_classes (and width, where it is not 1) and the options. width: multiplies all widths.
    options: of the family, such as in_channels, variant or widths; see the builders.
    Raises ConfigError for an unknown name or a value that the network cannot take.
    """
    num_classes = whole("num_classes", num_classes, 2)
    width = number("width", width, above=0, most=16)
    own = ":" in check_model(name)
    builder = import_named("model", name) if own else MODELS[name][0]
    settings = {"num_classes": num_classes, **(options if own else plain(options))}
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
    return code_digest(import_named("model", name), whole_file=True)
