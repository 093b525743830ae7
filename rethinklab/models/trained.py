"""Trained networks that come with the kit, so that a lesson can begin where its question begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from rethinklab.errors import ConfigError, first_line, unknown_name
from rethinklab.files import save_tensors
from rethinklab.models import build_model

FOLDER = Path(__file__).with_name("trained")
ABOUT = "about"  # the entry of the file's header that says how the network came about
WHAT = ("study", "seed", "address", "spec", "source", "test_accuracy")


def trained_networks(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """How each network came about, by name: study, seed, address, spec and source of its training,
    test_accuracy (a fraction), device, date and versions."""
    return {path.stem: about_trained(path.stem, folder)
            for path in sorted(folder.glob("*.safetensors"))}


def about_trained(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """How one of the networks came about; see `trained_networks`. Raises ConfigError for a name
    that there is not, and for a file that is damaged."""
    from safetensors import safe_open

    path = folder / f"{name}.safetensors"
    if not path.is_file():
        raise unknown_name("trained network", name,
                           [found.stem for found in folder.glob("*.safetensors")])
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            missing = [key for key in WHAT if key not in about]
    except Exception as error:  # safetensors and json each raise their own kinds
        raise ConfigError(f"{path} is damaged ({first_line(error)}); install the kit anew, or take "
                          "it from git.") from error
    if missing:
        raise ConfigError(f"{path} does not say {missing[0]}; install the kit anew, or take it "
                          "from git.")
    return about


def load_trained(name: str = "vgg11-digits", folder: Path = FOLDER) -> nn.Module:
    """A trained network that comes with the kit, in evaluation mode on the CPU.

    name: "vgg11-digits", unpruned, or one that was trained for pruning by a method, such as
    "vgg11-digits-slimming"; `rethinklab list trained` names all, with their accuracies.
    Raises ConfigError for a name that there is not, and for a file that is damaged.
    """
    from safetensors.torch import load_file

    spec = about_trained(name, folder)["spec"]
    model = build_model(spec["model"], num_classes=spec["classes"], seed=spec["seed"],
                        **spec["options"])
    try:
        model.load_state_dict(load_file(folder / f"{name}.safetensors"))
    except Exception as error:
        raise ConfigError(f"the trained network {name} does not fit its file "
                          f"({first_line(error)}); install the kit anew, or take it from git."
                          ) from error
    return model.eval()


def save_trained(name: str, model: nn.Module, about: Mapping[str, Any],
                 folder: Path = FOLDER) -> Path:
    """Write a network, and how it came about, to be found by `load_trained`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_tensors(model.state_dict(), path, {ABOUT: json.dumps(about, sort_keys=True)})
    return path
