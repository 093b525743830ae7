"""Networks as people write them, and what a cut must leave of any network."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import rethinklab as rl
from rethinklab.models.outputs import logits

RECIPE = rl.Recipe(epochs=1, lr=0.01, batch_size=8)
SHAPE = (3, 16, 16)


def task(count=24, side=16, classes=3):
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=draws)
    images = rl.Images(pixels, torch.arange(count) % classes)
    return rl.ImageData("noise", images, images, tuple(map(str, range(classes))), (0.5,) * 3,
                        (0.25,) * 3)


def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                         nn.ReLU())


class Between(nn.Module):
    """Three blocks and a linear layer, with `middle` between the first two blocks, whose output
    has `arriving` channels. extra: modules and buffers that `middle(net, x)` may use."""

    def __init__(self, middle, arriving=16, **extra):
        super().__init__()
        self.middle = middle
        self.first, self.second = block(3, 16), block(arriving, 12)
        self.third, self.head = block(12, 8), nn.Linear(8, 3)
        for name, part in extra.items():
            if isinstance(part, nn.Module):
                self.add_module(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x):
        x = self.middle(self, self.first(x))
        return self.head(self.third(self.second(x)).mean((2, 3)))


def attention_over_channels(net, x):
    scores = net.scan(x.mean((2, 3))[:, None])[:, 0]
    return x * torch.sigmoid(scores)[..., None, None]


def folded(net, x):
    return F.fold(x.flatten(2), (32, 32), 2, stride=2)


def maxout(net, x):
    return x.view(len(x), 8, 2, *x.shape[2:]).amax(2)


MIXING = {
    "pixel shuffle": Between(lambda net, x: F.pixel_shuffle(x, 2), 4),
    "pixel unshuffle": Between(lambda net, x: F.pixel_unshuffle(x, 2), 64),
    "channel shuffle": Between(lambda net, x: F.channel_shuffle(x, 4)),
    "fold": Between(folded, 4),
    "unfold": Between(lambda net, x: F.unfold(x, 3, padding=1).view(len(x), 144, 16, 16), 144),
    "roll": Between(lambda net, x: x.roll(1, 1)),
    "permutation": Between(lambda net, x: x[:, list(range(15, -1, -1))]),
    "sum of halves": Between(lambda net, x: sum(x.chunk(2, 1)), 8),
    "gated linear unit": Between(lambda net, x: F.glu(x, 1), 8),
    "maxout": Between(maxout, 8),
    "group normalisation": Between(lambda net, x: F.group_norm(x, 4)),
    "softmax over channels": Between(lambda net, x: x.softmax(1) * x),
    "repetition": Between(lambda net, x: x.repeat_interleave(2, 1), 32),
    "fixed shape": Between(lambda net, x: x.reshape(len(x), 16, -1).reshape(len(x), 16, 16, 16)),
    "buffer": Between(lambda net, x: x * net.scale, scale=torch.ones(1, 16, 1, 1)),
    "scan over channels": Between(attention_over_channels, scan=nn.Conv1d(1, 1, 3, padding=1)),
    "half of the channels": Between(lambda net, x: x[:, :8], 8),
}


def equal_to_zeroing(model, plan, shape):
    """In evaluation mode the network without the channels computes what it computes with them
    zero."""
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    small, silent = plan.apply(model).eval(), plan.silence(model).eval()
    with torch.no_grad():
        found, wanted = logits(small(images)), logits(silent(images))
    return torch.allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()) + 1e-7)


def takes_a_step(model, shape, classes):
    """One step of gradient descent on two images leaves finite weights, and other ones."""
    model.train()
    before = [p.detach().clone() for p in model.parameters()]
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
    F.cross_entropy(logits(model(images)), torch.tensor([0, classes - 1])).backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], lr=0.01).step()
    return (all(torch.isfinite(p).all() for p in model.parameters())
            and any(not torch.equal(p, old) for p, old in
                    zip(model.parameters(), before, strict=True)))
