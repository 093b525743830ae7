"""Layers that read only some channels of their input, the rest of which others still need.

In a residual or densely connected network a branch can stop reading a channel that its shortcut
or later layers go on using. Network slimming (Liu et al., ICCV 2017) and the ResNet-2x of He,
Zhang & Sun (ICCV 2017) put a channel selection before the first layer of the branch; here the
selection is part of that layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rethinklab.errors import PlanError


class SelectConv2d(nn.Conv2d):
    """A convolution of the input channels `index`, in that order.

    Input (N, C, H, W) with C above every index, output as of a convolution of (N, len(index),
    H, W). `index` is a buffer, int64: part of the architecture, untouched by `reset_parameters`.
    """

    index: Tensor

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, index: Sequence[int] | Tensor) -> SelectConv2d:
        """`conv` reading only the channels `index` of its input, with its weights for them.

        Of a layer that selects already, `index` counts the channels that it selects.
        Raises PlanError for a grouped convolution and for an index that is empty, repeated or
        out of range.
        """
        if conv.groups != 1:
            raise PlanError(f"a convolution of {conv.groups} groups cannot read a selection of "
                            "channels; its groups are fixed.")
        chosen = check_index(index, conv.in_channels)
        layer = cls(len(chosen), conv.out_channels, conv.kernel_size,  # type: ignore[arg-type]
                    conv.stride, conv.padding, conv.dilation,  # type: ignore[arg-type]
                    bias=conv.bias is not None, padding_mode=conv.padding_mode, device="meta",
                    dtype=conv.weight.dtype)
        _inherit(layer, conv, chosen)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.index_select(1, self.index))

    def extra_repr(self) -> str:
        return f"selected of a wider input, {super().extra_repr()}"


class SelectLinear(nn.Linear):
    """A linear layer of the input features `index`, in that order.

    Input (N, C) with C above every index, output (N, out_features). `index` is a buffer, int64.
    """

    index: Tensor

    @classmethod
    def from_linear(cls, linear: nn.Linear, index: Sequence[int] | Tensor) -> SelectLinear:
        """`linear` reading only the features `index` of its input, with its weights for them.

        Of a layer that selects already, `index` counts the features that it selects.
        Raises PlanError for an index that is empty, repeated or out of range.
        """
        chosen = check_index(index, linear.in_features)
        layer = cls(len(chosen), linear.out_features, bias=linear.bias is not None,
                    device="meta", dtype=linear.weight.dtype)
        _inherit(layer, linear, chosen)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.index_select(-1, self.index))

    def extra_repr(self) -> str:
        return f"selected of a wider input, {super().extra_repr()}"


def check_index(index: Sequence[int] | Tensor, width: int) -> Tensor:
    """`index` as an int64 tensor of shape (k,). Raises PlanError unless it holds one or more
    distinct whole numbers from 0 to width - 1."""
    chosen = index if isinstance(index, Tensor) else torch.tensor(list(index), device="cpu")
    whole = chosen.ndim == 1 and chosen.dtype in (torch.int64, torch.int32)
    values = chosen.tolist() if whole else []
    if not values or len(set(values)) < len(values) or min(values) < 0 or max(values) >= width:
        raise PlanError(f"a selection of {width} channels must list distinct whole numbers from 0 "
                        f"to {width - 1}, one or more, got {index}.")
    return chosen.to(torch.int64)


def _inherit(layer: SelectConv2d | SelectLinear, source: nn.Conv2d | nn.Linear,
             index: Tensor) -> None:
    """Give `layer` the weights of `source` for the inputs `index`, its mode and its flags."""
    index = index.to(source.weight.device)
    with torch.no_grad():
        weight = source.weight[:, index].clone()
        bias = None if source.bias is None else source.bias.clone()
    layer.weight = nn.Parameter(weight, source.weight.requires_grad)
    if bias is not None and source.bias is not None:
        layer.bias = nn.Parameter(bias, source.bias.requires_grad)
    outer = getattr(source, "index", None)  # a selection of a selection
    layer.register_buffer("index", index if outer is None else outer[index])
    layer.train(source.training)
