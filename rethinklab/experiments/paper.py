"""Rows of the paper as presets: METHOD-NETWORK-DATASET[-TARGET], at any scale."""

from __future__ import annotations

from typing import Any

from rethinklab.errors import unknown_name

PRESETS: dict[str, dict[str, Any]] = {
    "l1-vgg16-cifar10": {"dataset": "cifar10", "model": "vgg16", "method": "l1", "target": "A"},
}
PRESET_MEANINGS = {
    "l1-vgg16-cifar10": "L1-norm filter pruning of VGG-16 to VGG-16-A on CIFAR-10 (Table 1)",
}


def preset(name: str) -> dict[str, Any]:
    """The arguments of `Study` for a row of the paper. Raises ConfigError for a wrong name."""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return dict(PRESETS[name])
