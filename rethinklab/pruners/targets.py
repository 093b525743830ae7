"""Targets: how much of each layer to keep, as the user says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rethinklab.errors import PlanError, unknown_name

Asked = dict[str, "float | int"]

# Published targets as the share of filters removed from the n-th convolution, counted from 1.
# Source: Li et al. (ICLR 2017), Table 2 for VGG-16-A; the released code of Liu et al. (2019).
PUBLISHED: dict[tuple[str, str], dict[str, dict[int, float]]] = {
    ("l1", "vgg16"): {"A": {1: 0.5, **dict.fromkeys(range(8, 14), 0.5)}},
}


def check_target(target: Any) -> Any:
    """`target` where it has a legal form, whatever the network. Raises PlanError otherwise."""
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
                raise PlanError(f"target {target!r} is a text; give the number {target}.")
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
