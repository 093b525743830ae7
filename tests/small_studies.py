"""Studies that take seconds, and what must be the same however they were run."""

from __future__ import annotations

from image_folders import write_images

import rethinklab as rl

CLOCKS = ["workers", "mps", "seconds", "date", "spent_seconds", "attempts", "engine"]


NETWORK = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.head = nn.Linear(4, classes)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).mean((2, 3)))

def build(num_classes):
    return Tiny(num_classes)
"""


def write_task(root, images=31):
    """A folder of three classes that differ in brightness; how a study names it."""
    write_images(root / "train", {"dark": images - 1, "mid": images, "light": images + 1})
    write_images(root / "test", {"dark": 10, "mid": 10, "light": 11}, seed=1)
    return f"folder:{root}"


def write_pair(root):
    """A smaller folder, of two classes; how a study names it."""
    write_images(root / "train", {"dark": 20, "light": 22})
    write_images(root / "test", {"dark": 10, "light": 11}, seed=1)
    return f"folder:{root}"


def write_network(path):
    """A module with a network of one convolution; a study names it STEM:build."""
    path.write_text(NETWORK)


def small_study(images, **changes):
    settings = {"dataset": images, "model": "vgg11", "width": 0.0625, "target": 0.5, "seeds": 2,
                "recipe": rl.Recipe(epochs=2, lr=0.02, batch_size=16), **changes}
    return rl.Study(**settings)


def run(study, store, **options):
    """On the CPU, where results repeat to the bit."""
    return rl.run(study, store, **{"workers": 0, "progress": False, "device": "cpu", **options})


def outcome(results):
    """All of a study's table but clocks, dates, the engine and how often a stage was begun."""
    return results.frame.drop(columns=CLOCKS, errors="ignore").to_dict("list")
