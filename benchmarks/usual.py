"""The training loop that one would write without the kit, as something to compare with:
torchvision's transforms on PIL images, a DataLoader, float32, and a loss read back in every step.
"""

from __future__ import annotations

import time
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

BEGUN = 40  # steps before the clock starts on a GPU: loaders and kernels are loaded by then


class Photographs(torch.utils.data.Dataset):
    """Random pictures, handed out as torchvision's CIFAR-10 does."""

    def __init__(self, total: int) -> None:
        from torchvision import transforms

        self.pixels = torch.randint(0, 256, (total, 32, 32, 3), dtype=torch.uint8).numpy()
        self.transform = transforms.Compose([
            transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)])

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), index % 10


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def usual_seconds(model: nn.Module, loaders: int, steps: int, batch: int,
                  device: torch.device) -> float:
    """Seconds of a step. loaders: processes that read images, 0 for none."""
    begun = BEGUN if device.type == "cuda" else 2
    supply = iter(torch.utils.data.DataLoader(
        Photographs(batch * (steps + begun)), batch, shuffle=True, num_workers=loaders,
        pin_memory=device.type == "cuda"))
    model = model.to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    running, start = 0.0, 0.0
    for number, (images, labels) in enumerate(islice(supply, steps + begun)):
        if number == begun:
            wait(device)
            start = time.perf_counter()
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        running += loss.item()
    wait(device)
    return (time.perf_counter() - start) / steps
