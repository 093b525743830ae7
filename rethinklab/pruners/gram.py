"""The linear algebra of reconstruction: what a layer reads, and choices made from Gram matrices.

ThiNet and the regression method both ask which input channels a layer can do without, given
samples of what it reads and of what it computes. All that they need of m samples are products
such as X^T X and X^T Y, summed over batches of images, so that no sample is kept.

Throughout: C input channels, k = kernel height * width, F = C * k features in (channel, kernel)
order, N output channels, m samples. Sums of products are float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethinklab.devices import exact
from rethinklab.errors import PlanError
from rethinklab.pruners.lasso import is_optimal, lasso_knots

CONDITION = 1e-9  # share of a feature, or of the largest eigenvalue, that is taken for rounding
SCARCE = 1e-2  # the same where samples are fewer than unknowns

Pair = tuple[int, int]
Window = tuple[Pair, Pair, Pair, Pair]  # kernel size, stride, padding, dilation


def output_size(size: Sequence[int], kernel_size: Pair, stride: Pair, padding: Pair,
                dilation: Pair) -> Pair:
    """Height and width of the output of a convolution whose input is `size` = (H, W)."""
    height, width = ((extent + 2 * pad - spread * (kernel - 1) - 1) // step + 1
                     for extent, kernel, step, pad, spread
                     in zip(size, kernel_size, stride, padding, dilation, strict=True))
    return height, width


def sample_patches(x: Tensor, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair,
                   count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What a convolution reads at `count` random places of its output for each image.

    x: its input (B, C, H, W). generator: on the CPU. Returns the patches, float64 (B * count, C,
    k), and the places as `sample_places` gives them.
    """
    size = output_size(x.shape[2:], kernel_size, stride, padding, dilation)
    places = sample_places(x.shape[0], size, count, generator)
    return patches_at(x, places, kernel_size, stride, padding, dilation), places


def sample_places(images: int, size: Sequence[int], count: int,
                  generator: torch.Generator) -> Tensor:
    """`count` random places in each of `images` maps of `size` = (H, W).

    int64 (images * count, 3): image, row, column. The places of an image are distinct until all
    have been drawn, and then come round again.
    """
    height, width = size
    order = torch.rand(images, height * width, generator=generator).argsort(1)
    place = order[:, torch.arange(count) % (height * width)].flatten()
    image = torch.arange(images).repeat_interleave(count)
    return torch.stack([image, place // width, place % width], 1)


def values_at(maps: Tensor, places: Tensor) -> Tensor:
    """What maps (B, N, H, W) hold at `places` (m, 3): float64 (m, N)."""
    image, row, column = places.to(maps.device).unbind(1)
    return exact(maps[image, :, row, column])


def patches_at(x: Tensor, places: Tensor, kernel_size: Pair, stride: Pair, padding: Pair,
               dilation: Pair) -> Tensor:
    """What a convolution reads of x (B, C, H, W) at `places` (m, 3): float64 (m, C, k).

    Gathers the patches asked for and no others; what lies outside the image is zero.
    """
    image, row, column = places.to(x.device).unbind(1)
    rows, in_height = _reach(row, x.shape[2], kernel_size[0], stride[0], padding[0], dilation[0])
    columns, in_width = _reach(column, x.shape[3], kernel_size[1], stride[1], padding[1],
                               dilation[1])
    inside = in_height[:, :, None] & in_width[:, None, :]
    found = x[image[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # (m, kh, kw, C)
    found = exact(found * inside[..., None])
    return found.flatten(1, 2).transpose(1, 2)


def _reach(position: Tensor, extent: int, kernel: int, stride: int, padding: int,
           dilation: int) -> tuple[Tensor, Tensor]:
    """Input indices that an output position reads along one axis, (m, kernel), and which exist."""
    taps = torch.arange(kernel, device=position.device) * dilation
    index = position[:, None] * stride - padding + taps
    return index.clamp(0, extent - 1), (index >= 0) & (index < extent)


def as_maps(layer: nn.Conv2d | nn.Linear, x: Tensor) -> tuple[Tensor, Window]:
    """The input of a layer as maps (B, C, H, W), and the window that the layer reads them by.

    A linear layer is a 1x1 convolution of (B, C, 1, 1), or of (B, C, L, 1) where its input is (B,
    L, C). Padding other than by the same number of zeros on both sides is carried out here.
    """
    index = getattr(layer, "index", None)
    if isinstance(index, Tensor):  # a layer that selects channels
        x = x.index_select(-1 if isinstance(layer, nn.Linear) else 1, index)
    if isinstance(layer, nn.Linear):
        return vectors_as_maps(x), ((1, 1), (1, 1), (0, 0), (1, 1))
    padding = layer.padding
    if isinstance(padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        padding = (0, 0)
    return x, (layer.kernel_size, layer.stride, padding, layer.dilation)  # type: ignore[return-value]


def vectors_as_maps(x: Tensor) -> Tensor:
    """(B, ..., C) as (B, C, L, 1), L the number of vectors of each image."""
    return x.reshape(x.shape[0], -1, x.shape[-1]).transpose(1, 2)[..., None]


def contributions(patches: Tensor, weight: Tensor, channels: Tensor) -> Tensor:
    """What each input channel adds to one output value: the x of ThiNet, (m, C).

    patches: (m, C, k). weight: (N, C, k). channels: int64 (m,), the output channel of each
    sample. A row's sum is the output before the bias. Source: Luo et al. (ICCV 2017), equation 3.
    """
    return (patches * weight[channels]).sum(2)


def greedy_removal(gram: Tensor, remove: int) -> list[int]:
    """The channels that ThiNet removes, in the order in which it takes them.

    gram: (C, C), X^T X of the contributions. Each step takes the channel that keeps
    sum_i (sum_{c removed} x_ic)^2 lowest, the first one where several do. With T removed so far,
    the objective with c is s_T + 2 sum_{t in T} G[t, c] + G[c, c]: a step costs O(C).
    Source: Luo et al. (ICCV 2017), algorithm 1.
    """
    table = gram.detach().cpu().double().numpy()
    growth = table.diagonal().copy()  # of the objective, for each candidate
    order: list[int] = []
    for _ in range(remove):
        taken = int(growth.argmin())
        order.append(taken)
        growth += 2 * table[taken]
        growth[taken] = np.inf
    return order


def least_squares(gram: Tensor, cross: Tensor, condition: float = CONDITION) -> Tensor:
    """argmin_w ||Y - X w||^2 from gram = X^T X (F, F) and cross = X^T Y (F, ...).

    Features are scaled to equal energy first, and features of none get weight zero. Where the
    others depend on each other, the solution is the one of least norm in that scale: directions
    with less than `condition` of the largest eigenvalue are left out.
    """
    energy = gram.diagonal()
    live = energy > 0
    scale = torch.where(live, energy, 1.0).rsqrt()
    scaled = gram * scale[:, None] * scale
    scaled.diagonal().fill_(1.0)  # 0 becomes 1 in a feature without energy, whose cross is 0
    wanted = (cross * (scale * live).reshape(-1, *[1] * (cross.ndim - 1))).reshape(len(gram), -1)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if int(failed) == 0 and float(factor.diagonal().min()) ** 2 > condition:
        solution = torch.cholesky_solve(wanted, factor)
    else:
        values, vectors = torch.linalg.eigh(scaled)
        kept = values > condition * values.max()
        inverse = torch.where(kept, values, 1.0).reciprocal() * kept
        solution = vectors @ (inverse[:, None] * (vectors.T @ wanted))
    return (solution * (scale * live)[:, None]).reshape(cross.shape)


def least_squares_scales(gram: Tensor, cross: Tensor, keep: Sequence[int]) -> Tensor:
    """One factor for each kept channel, argmin_w sum_i (y_i - w . x_i,keep)^2, as (len(keep),).

    gram: (C, C), X^T X. cross: (C,), X^T y; where y is the sum over all channels, the row sums of
    the Gram matrix. Source: Luo et al. (ICCV 2017), equation 7.
    """
    index = torch.as_tensor(keep, device=gram.device, dtype=torch.long)
    return least_squares(gram[index][:, index], cross[index])


def least_squares_weights(gram: Tensor, cross: Tensor, start: Tensor | None = None,
                          samples: int | None = None) -> Tensor:
    """Weights (F, N) that map features to outputs best: argmin_W ||Y - P W||_F^2.

    gram: (F, F), P^T P. cross: (F, N), P^T Y. A bias is the weight of a feature that is always
    one. start: weights (F, N) to change as little as the fit allows, where samples do not
    determine them all; zero by default. samples: how many; where there are fewer than weights to
    find, only directions that they determine well are changed, lest the errors of many layers grow
    on each other. Source: He et al. (ICCV 2017), section 3.1, step (ii).
    """
    few = samples is not None and samples < len(gram)
    condition = SCARCE if few else CONDITION
    if start is None:
        return least_squares(gram, cross, condition)
    return start + least_squares(gram, cross - gram @ start, condition)


def block_gram(patch_gram: Tensor, weight: Tensor) -> Tensor:
    """The Gram matrix (C, C) of z_c = vec(X_c W_c^T), each channel's part of all outputs.

    patch_gram: (F, F), P^T P of the patches. weight: (N, C, k). With S = P^T P and T = W^T W,
    G[c, d] = sum_{k, l} S[ck, dl] T[ck, dl]: the z, of m * N values each, are never formed.
    """
    channels, taps = weight.shape[1:]
    flat = weight.flatten(1)
    return (patch_gram * (flat.T @ flat)).view(channels, taps, channels, taps).sum((1, 3))


def block_cross(patch_cross: Tensor, weight: Tensor) -> Tensor:
    """The products (C,) of z_c = vec(X_c W_c^T) with vec(Y).

    patch_cross: (F, N), P^T Y. weight: (N, C, k).
    """
    channels = weight.shape[1]
    return (patch_cross * weight.flatten(1).T).view(channels, -1).sum(1)


def lasso_selection(gram: Tensor, cross: Tensor, samples: int, keep: int) -> list[int]:
    """The `keep` channels that the LASSO uses, in ascending order.

    gram: (C, C), Z^T Z. cross: (C,), Z^T y. samples: length of y. They minimise
    1/(2 samples) ||y - Z beta||^2 + lambda ||beta||_1 at the least lambda down to which no more
    than `keep` coefficients are other than zero, counted at the knots of the path (`lasso_point`).
    Where these are fewer, the ones that the path would admit next make up the number, those
    without energy last.
    Source: He et al. (ICCV 2017), section 3.1, step (i).
    """
    if keep >= len(gram):
        return list(range(len(gram)))
    _, beta = lasso_point(gram, cross, samples, keep)
    chosen = np.flatnonzero(beta)
    energy = gram.diagonal().cpu().numpy()
    pull = np.abs(cross.cpu().numpy() - gram.cpu().numpy() @ beta)
    waiting = np.lexsort((-pull, energy <= 0))  # stable: the index decides among equals
    rest = waiting[~np.isin(waiting, chosen)]
    return sorted([*chosen.tolist(), *rest[: keep - len(chosen)].tolist()])


def lasso_point(gram: Tensor, cross: Tensor, samples: int,
                keep: int) -> tuple[float, np.ndarray]:
    """(lambda, beta (C,)) of the last knot of the LASSO path with at most `keep` coefficients.

    A knot is where a coefficient enters or leaves. The path starts where all are zero. The
    solution meets the conditions of optimality to 1e-6 of the largest product, also where channels
    are equal, silent or sums of others; of equal ones one alone is used. Where channels depend on
    each other too closely for double precision to follow the path, it is the last knot up to which
    that can be said.
    """
    table, products = gram.cpu().numpy(), cross.cpu().numpy()
    knots = [(float(np.abs(products).max(initial=0.0)), np.zeros(len(products)))]
    with suppress(PlanError):  # the path breaks off
        for knot in lasso_knots(table, products):
            if np.count_nonzero(knot[1]) > keep:
                break
            knots.append(knot)
    while not is_optimal(table, products, *knots[-1]):  # all are zero at the first, which is exact
        knots.pop()
    pull, beta = knots[-1]
    return pull / samples, beta
