"""Targets: how much of each layer to keep, as the user says it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rethinklab.errors import PlanError, unknown_name
from rethinklab.values import plain

Asked = dict[str, "float | int"]

def _basic_blocks(blocks: Sequence[int], shares: Sequence[float],
                  skipped: Sequence[int]) -> dict[int, float]:
    """Shares removed from the first convolution of each basic block of a residual network.

    blocks, shares: number of blocks and share of each stage. skipped: convolutions left alone, by
    the published numbers, which count the 3x3 convolutions and the stem from 1, so that block n
    has number 2n.
    """
    by_block = [share for count, share in zip(blocks, shares, strict=True) for _ in range(count)]
    return {n: share for n, share in enumerate(by_block, 1) if share and 2 * n not in skipped}


def _down_to(kept: Sequence[int], widths: Sequence[int]) -> dict[int, float]:
    """Shares that leave `kept` of `widths` channels, layer by layer."""
    return {n: 1 - left / width for n, (left, width) in
            enumerate(zip(kept, widths, strict=True), 1) if left < width}


_VGG_16 = (64, 64, 128, 128, *[256] * 3, *[512] * 6)
_RESNET_34 = ((3, 4, 6, 3), (2, 8, 14, 16, 26, 28, 30, 32))  # blocks, and skipped by A and B
_RESNET_50 = range(2, 2 + 2 * 16)  # two a bottleneck, after the stem, which stays whole

# Published targets as the share of filters removed from the n-th prunable convolution, counted
# from 1. Sources: Li et al. (ICLR 2017), Table 2 for VGG-16-A; the released code of Liu et al.
# (ICLR 2019) for all; Luo et al. (ICCV 2017) and He, Zhang & Sun (ICCV 2017) for theirs.
PUBLISHED: dict[tuple[str, str], dict[str, dict[int, float]]] = {
    ("l1", "vgg16"): {"A": {1: 0.5, **dict.fromkeys(range(8, 14), 0.5)}},
    ("l1", "resnet56"): {
        "A": _basic_blocks((9, 9, 9), (0.1, 0.1, 0.1), (16, 20, 38, 54)),
        "B": _basic_blocks((9, 9, 9), (0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54)),
    },
    ("l1", "resnet110"): {
        "A": _basic_blocks((18, 18, 18), (0.5, 0, 0), (36,)),
        "B": _basic_blocks((18, 18, 18), (0.5, 0.4, 0.3), (36, 38, 74)),
    },
    ("l1", "resnet34"): {
        "A": _basic_blocks(_RESNET_34[0], (0.3, 0.3, 0.3, 0), _RESNET_34[1]),
        "B": _basic_blocks(_RESNET_34[0], (0.5, 0.6, 0.4, 0), _RESNET_34[1]),
    },
    ("thinet", "resnet50"): {
        kept: dict.fromkeys(_RESNET_50, 1 - int(kept) / 100)
        for kept in ("30", "50", "70")
    },
    ("thinet", "imagenet_vgg16"): {"conv": dict.fromkeys(range(1, 11), 0.5)},
    ("regression", "imagenet_vgg16"): {
        "5x": _down_to((24, 22, 41, 51, 108, 89, 111, 184, 276, 228, 512, 512, 512), _VGG_16),
    },
}


def check_target(target: Any) -> Any:
    """`target` where it has a legal form, whatever the network. Raises PlanError otherwise."""
    target = plain(target)
    if isinstance(target, str):
        return target
    if isinstance(target, Mapping):
        if not target:
            raise PlanError("the target names no layer; give {layer: ratio or width}.")
        return {str(name): _check_request(value, name) for name, value in target.items()}
    if isinstance(target, float) and target == 0:
        raise PlanError("a ratio of 0 prunes nothing; give a number between 0 and 1.")
    if not isinstance(target, float):
        raise PlanError(f"target {target!r} must be a published name such as 'A', a ratio between "
                        "0 and 1 (the share to remove), or {layer: ratio or width}.")
    return _check_request(target, None)


def _check_request(value: Any, layer: str | None) -> float | int:
    where = f" for {layer}" if layer else ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PlanError(f"target {value!r}{where} must be a ratio (a float) or a width (an int).")
    if isinstance(value, float) and not 0 <= value < 1:
        raise PlanError(f"ratio {value}{where} must be at least 0 and below 1: it is the share of "
                        "channels to remove, and a layer keeps one or more.")
    if isinstance(value, int) and value < 1:
        raise PlanError(f"width {value}{where} would empty the layer; keep at least one channel.")
    return value


def resolve_target(target: Any, method: str, architecture: str | None,
                   widths: Mapping[str, int], default: Mapping[str, int]) -> Asked:
    """What is asked of each layer: the share to remove (float) or the width to keep (int).

    widths: of all layers that can be pruned. default: of those that the method prunes unless
    told by name, in order. Raises PlanError for a name that is not there.
    """
    target = check_target(target)
    if isinstance(target, str):
        known = PUBLISHED.get((method, architecture or ""), {})
        if target not in known:
            network = architecture or "this network"
            if target.replace(".", "", 1).isdigit():
                raise PlanError(f"target {target!r} is neither a published target of {method} for "
                                f"{network} nor a ratio between 0 and 1.")
            if not known:
                raise PlanError(f"there is no published target {target!r} of method {method} for "
                                f"{network}; give a ratio such as 0.5 or {{layer: width}}.")
            raise unknown_name(f"target of {method} for {network}", target, known, PlanError)
        return {name: known[target].get(number, 0.0) for number, name in enumerate(default, 1)}
    if isinstance(target, dict):
        for name in target:
            if name not in widths:
                raise unknown_name("layer in the target", name, widths, PlanError)
        if not any(target.values()):
            raise PlanError("the target removes nothing from any layer; give a ratio above 0 or a "
                            "smaller width.")
        return {name: target.get(name, 0.0) for name in widths if name in default or name in target}
    return dict.fromkeys(default, target)


def kept_count(asked: float | int, width: int, layer: str) -> int:
    """Channels that a layer of `width` keeps: int(width * (1 - ratio)), or the width asked for.

    Truncation as in the released code of Liu et al. (2019). Raises PlanError for none or more
    than there are.
    """
    if isinstance(asked, int):
        if asked > width:
            raise PlanError(f"{layer} has {width} channels and cannot keep {asked}.")
        return asked
    count = math.floor(round(width * (1 - asked), 9))  # 10 * (1 - 0.9) is 0.99... in floats
    if count < 1:
        raise PlanError(f"removing {asked:.0%} of the {width} channels of {layer} would empty "
                        f"it; ask for at most {1 - 1 / width:.3g}.")
    return count
