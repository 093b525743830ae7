"""Where tensors are computed on: the device by name, and what it cannot do."""

from __future__ import annotations

import torch
from torch import Tensor

from rethinklab.errors import ConfigError, first_line

WITH_FLOAT64 = ("cpu", "cuda")  # Apple's GPUs have none, and of Intel's some


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the first of an NVIDIA or AMD GPU ("cuda"), Apple's
    ("mps") and Intel's ("xpu"), or else the CPU. The last two were not tried on the hardware.

    Raises ConfigError for a device that this machine does not have.
    """
    if name == "auto":
        here = (kind for kind, there in (("cuda", torch.cuda.is_available),
                                         ("mps", torch.backends.mps.is_available),
                                         ("xpu", torch.xpu.is_available)) if there())
        return torch.device(next(here, "cpu"))
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {name!r} cannot be used here ({first_line(error)}). "
                          "Try auto, cpu, cuda, mps or xpu.") from error
    return device


def sum_type(device: torch.device) -> torch.dtype:
    """In what an epoch's losses are summed on a device: float64 where there is such a thing. In
    float32 the mean over a million losses is right to about four digits."""
    return torch.float64 if device.type in WITH_FLOAT64 else torch.float32


def exact(values: Tensor) -> Tensor:
    """`values` in float64, on the CPU where the device has none."""
    return (values if values.device.type in WITH_FLOAT64 else values.cpu()).double()


def wait_for(device: torch.device) -> None:
    """Until a device has done all that it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
