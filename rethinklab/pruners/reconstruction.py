"""What ThiNet and the regression method make small: the error of a layer's outputs."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from rethinklab.analysis.cost import evaluating
from rethinklab.devices import exact
from rethinklab.pruners.thinet import watch


def layer_error(model: nn.Module, pruned: nn.Module, layer: str, images: Tensor,
                channels: Sequence[int] | None = None) -> float:
    """Relative squared error of the outputs of one layer: the squared distance of the pruned
    network's from the unpruned network's, over the squares of the latter, summed over images,
    channels and places.

    images: normalised, (N, C, H, W). channels: those of the unpruned layer that the pruned one
    still has; all without it. Both networks pass the images in evaluation mode and keep the mode
    that they had.
    Source: the objectives of Luo et al. (ICCV 2017), equation 5, and He et al. (ICCV 2017),
    equation 1.
    """
    wanted, found = (_outputs(network, layer, images) for network in (model, pruned))
    if channels is not None:
        wanted = wanted[:, list(channels)]
    return float((found - wanted).square().sum() / wanted.square().sum())


def _outputs(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    with evaluating(model) as device:
        watch(model, images.to(device), layer,
              lambda entering, leaving: seen.append(exact(leaving)))
    return seen[0]
