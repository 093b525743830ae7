"""ImageNet's ResNet and VGG on torchvision's classes, at any width and without its downloads.

Importing this module imports torchvision: the registry does so when such a network is built.
At full width the networks are torchvision's, layer by layer and name by name, so that its weights
fit. Sources: He et al. (CVPR 2016); Simonyan & Zisserman (ICLR 2015); Liu et al. (ICLR 2019) and
its released code for narrowed networks and for the VGG-11 of network slimming.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet
from torchvision.models.vgg import VGG as TorchvisionVGG
from torchvision.models.vgg import cfgs

from rethinklab.errors import ConfigError, unknown_name
from rethinklab.models.initialise import draw_weights
from rethinklab.models.selection import SelectConv2d
from rethinklab.models.vgg import POOL, convolutions, last_width
from rethinklab.models.widths import explicit, scale

STAGES = (64, 128, 256, 512)
BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
LAYOUTS = {"vgg11": "A", "vgg16": "D"}
HIDDEN = 4096
HEADS = ("torchvision", "gap", "slimming")
CLASSES = 1000


class ResNet(TorchvisionResNet):
    """Input (N, in_channels, H, W), output (N, num_classes), with torchvision's layer names.

    block: BasicBlock or Bottleneck. blocks: number of each stage. streams: width of each stage,
    which a Bottleneck multiplies by 4 for its output. inner: the width of each block's inner
    convolutions in order, one a BasicBlock and two a Bottleneck. selections: for each block the
    input channels that its first convolution reads, or None for all.
    shortcut_bias: give the projection shortcuts a bias, as networks that come from Caffe have.
    """

    def __init__(self, block: type[BasicBlock] | type[Bottleneck], blocks: Sequence[int],
                 streams: Sequence[int], inner: Sequence[int], num_classes: int = CLASSES,
                 in_channels: int = 3, selections: Sequence[Sequence[int]] | None = None,
                 shortcut_bias: bool = False) -> None:
        nn.Module.__init__(self)  # torchvision's constructor knows one set of widths
        channels = streams[0]
        self.conv1 = nn.Conv2d(in_channels, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        supply, choices = iter(inner), iter(selections or ())
        for number, (count, stream) in enumerate(zip(blocks, streams, strict=True), 1):
            stage = nn.Sequential()
            for position in range(count):
                stride = 2 if number > 1 and position == 0 else 1
                out = stream * block.expansion
                projection = None
                if stride > 1 or channels != out:
                    projection = nn.Sequential(
                        nn.Conv2d(channels, out, 1, stride, bias=shortcut_bias),
                        nn.BatchNorm2d(out))
                made = block(channels, stream, stride, projection)
                set_inner_widths(made, [next(supply) for _ in range(inner_widths(block))])
                if selections is not None:
                    made.conv1 = SelectConv2d.from_conv(made.conv1, next(choices))
                stage.append(made)
                channels = out
            self.add_module(f"layer{number}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(channels, num_classes)
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator, as torchvision does."""
        draw_weights(self)


def inner_widths(block: type[BasicBlock] | type[Bottleneck]) -> int:
    """Number of inner widths of a block: 1 for BasicBlock, 2 for Bottleneck."""
    return 1 if block is BasicBlock else 2


def set_inner_widths(block: BasicBlock | Bottleneck, widths: Sequence[int]) -> None:
    """Rebuild, in place, the convolutions of `block` whose inner width is to be another."""
    last = len(widths) + 1
    for number in range(1, last + 1):
        conv = getattr(block, f"conv{number}")
        fan_in = conv.in_channels if number == 1 else widths[number - 2]
        fan_out = conv.out_channels if number == last else widths[number - 1]
        if (fan_in, fan_out) != (conv.in_channels, conv.out_channels):
            setattr(block, f"conv{number}", nn.Conv2d(
                fan_in, fan_out, conv.kernel_size, conv.stride, conv.padding, bias=False))
            setattr(block, f"bn{number}", nn.BatchNorm2d(fan_out))


class VGG(TorchvisionVGG):
    """Input (N, in_channels, H, W) with H, W >= 32, output (N, num_classes), with torchvision's
    layer names.

    layout: width of each convolution in order, "M" for a 2x2 max pooling. head: "torchvision"
    (two hidden layers with dropout on a 7x7 map), "gap" (global average pooling and one linear
    layer) or "slimming" (two hidden layers with batch normalisation and without dropout).
    gamma: initial scale of the batch normalisations.
    """

    def __init__(self, layout: Sequence[int | str], num_classes: int = CLASSES,
                 in_channels: int = 3, hidden: int = HIDDEN, batch_norm: bool = False,
                 head: str = "torchvision", gamma: float = 1.0) -> None:
        nn.Module.__init__(self)  # torchvision's constructor knows one head
        if head not in HEADS:
            raise unknown_name("head of an ImageNet VGG", head, HEADS)
        self.gamma = gamma
        self.features = convolutions(layout, in_channels, bias=True, batch_norm=batch_norm)
        channels = last_width(layout)
        self.avgpool = nn.AdaptiveAvgPool2d(1 if head == "gap" else (7, 7))
        if head == "gap":
            self.classifier = nn.Sequential(nn.Linear(channels, num_classes))
        else:
            parts: list[nn.Module] = []
            for features in (channels * 7 * 7, hidden):
                parts.append(nn.Linear(features, hidden))
                if head == "slimming":
                    parts += [nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
                else:
                    parts += [nn.ReLU(inplace=True), nn.Dropout()]
            self.classifier = nn.Sequential(*parts, nn.Linear(hidden, num_classes))
        self.initialise()

    def initialise(self) -> None:
        """Draw all weights anew, from the global generator, as torchvision does, but for `gamma`.
        """
        draw_weights(self, gamma=self.gamma, hidden_gamma=self.gamma, linear="small")


def build_resnet(name: str, num_classes: int = CLASSES, width: float = 1.0, in_channels: int = 3,
                 widths: Sequence[int] | None = None, weights: str | None = None) -> ResNet:
    """ResNet-18, 34 or 50 for ImageNet (`name` "resnet50").

    width: multiplies every width. widths: explicit widths of the inner convolutions instead, one
    a basic block and two a bottleneck, as pruning leaves them. weights: name of trained weights
    that torchvision downloads, such as "IMAGENET1K_V1"; they fit the full network only.
    """
    block, blocks = BLOCKS[name]
    streams = [scale(stage, width) for stage in STAGES]
    inner = [stream for stream, count in zip(streams, blocks, strict=True)
             for _ in range(count * inner_widths(block))]
    full = widths is None and width == 1
    if widths is not None:
        inner = explicit(widths, len(inner), name)
    model = ResNet(block, blocks, streams, inner, num_classes, in_channels)
    if weights is not None:
        load_weights(model, name, weights, full and num_classes == CLASSES and in_channels == 3)
    return model


def build_vgg(name: str, num_classes: int = CLASSES, width: float = 1.0, in_channels: int = 3,
              batch_norm: bool = True, widths: Sequence[int] | None = None,
              variant: str = "torchvision", weights: str | None = None) -> VGG:
    """VGG-11 or 16 for ImageNet (`name` "vgg16").

    width: multiplies every width, those of the hidden layers too. widths: explicit width of every
    convolution instead (the hidden layers then keep 4096 * width). variant: "torchvision", or
    "slimming" for normalised hidden layers, no dropout and initial scales of 0.5. weights: name of
    trained weights that torchvision downloads, such as "IMAGENET1K_V1"; they fit the full
    network only.
    """
    if variant not in ("torchvision", "slimming"):
        raise unknown_name("variant of an ImageNet VGG", variant, ("torchvision", "slimming"))
    if variant == "slimming" and not batch_norm:
        raise ConfigError("the slimming variant of an ImageNet VGG needs batch normalisation.")
    layout = cfgs[LAYOUTS[name]]
    full = widths is None and width == 1 and variant == "torchvision"
    if widths is None:
        found = [scale(int(entry), width) for entry in layout if entry != POOL]
    else:
        found = explicit(widths, sum(entry != POOL for entry in layout), name)
    supply = iter(found)
    filled = [entry if entry == POOL else next(supply) for entry in layout]
    model = VGG(filled, num_classes, in_channels, scale(HIDDEN, width), batch_norm, variant,
                0.5 if variant == "slimming" else 1.0)
    if weights is not None:
        load_weights(model, f"{name}_bn" if batch_norm else name, weights,
                     full and num_classes == CLASSES and in_channels == 3)
    return model


def load_weights(model: nn.Module, name: str, weights: str, fits: bool) -> None:
    """Give `model` the trained weights of torchvision's network `name`, which it downloads.

    Raises ConfigError for weights that torchvision does not have, or where `fits` is false.
    """
    known = get_model_weights(name).__members__
    if weights not in known:
        raise unknown_name(f"weights of {name}", weights, known)
    if not fits:
        raise ConfigError(f"weights {weights!r} fit {name} at full width, with {CLASSES} classes "
                          "and 3 input channels only.")
    model.load_state_dict(known[weights].get_state_dict(progress=False, check_hash=True))
