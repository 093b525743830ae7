"""What the network's output loses by each method at equal widths, before any retraining.

`python -m benchmarks.reconstruction [--model vgg11 --width 0.125 --epochs 3]`
trains a network on the embedded images and prints, for each ratio and method, the relative squared
error of the pruned network's outputs on the test images, and its accuracy there.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import rethinklab as rl
from rethinklab.data.batches import plain_batches

METHODS = ("random", "l1", "thinet", "regression")


@torch.no_grad()
def outputs(model: nn.Module, data: rl.ImageData) -> Tensor:
    model.eval()
    return torch.cat([model(images) for images, _ in plain_batches(data, data.test)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg11")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    options = parser.parse_args()
    data = rl.load_data("digits")
    large = rl.train(rl.build_model(options.model, width=options.width), data,
                     rl.Recipe(epochs=options.epochs, lr=0.05), device="cpu")
    exact = outputs(large.model, data)
    print(f"{options.model}, width {options.width:g}, digits, {options.epochs} epochs: "
          f"{large.test_accuracy:.1%} unpruned")
    print(f"{'removed':>8}" + "".join(f"{method:>22}" for method in METHODS))
    for ratio in options.ratios:
        cells = []
        for method in METHODS:
            plan = rl.make_pruner(method, ratio).fit(large.model, data)
            small = plan.apply(large.model)
            error = (outputs(small, data) - exact).square().sum() / exact.square().sum()
            cells.append(f"{float(error):13.3f} {rl.evaluate(small, data)[0]:8.1%}")
        print(f"{ratio:8.0%}" + "".join(cells))
    print("for each: relative squared error of the outputs, and accuracy; no retraining")


if __name__ == "__main__":
    main()
