"""What is lost by each method at equal widths, before any retraining.

`python -m benchmarks.reconstruction [--model vgg11 --width 0.125 --epochs 3]`
trains a network on the embedded images and prints, for each ratio and method, relative squared
errors on the test images: of the next layer's outputs when one layer is pruned, which is what
ThiNet and regression make small, on average over the layers; and of the network's outputs when all
are pruned, with its accuracy.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

import rethinklab as rl
from rethinklab.data.batches import plain_batches
from rethinklab.pruners.cutting.probe import survey
from rethinklab.pruners.reconstruction import layer_error
from rethinklab.pruners.thinet import readers_of

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
    images = torch.cat([images for images, _ in plain_batches(data, data.test)])
    print(f"{options.model}, width {options.width:g}, digits, {options.epochs} epochs: "
          f"{large.test_accuracy:.1%} unpruned")
    layers = survey(large.model, data.input_shape).prunable
    readers = readers_of(large.model, data.input_shape, list(layers))
    print(f"{'removed':>8}" + "".join(f"{method:>28}" for method in METHODS))
    for ratio in options.ratios:
        cells = []
        for method in METHODS:
            alone = []
            for name in layers:
                plan = rl.make_pruner(method, {name: ratio}).fit(large.model, data)
                alone.append(layer_error(large.model, plan.apply(large.model),
                                         readers[name][0].name, images))
            small = rl.make_pruner(method, ratio).fit(large.model, data).apply(large.model)
            error = (outputs(small, data) - exact).square().sum() / exact.square().sum()
            cells.append(f"{sum(alone) / len(alone):10.3f}{float(error):9.3f}"
                         f"{rl.evaluate(small, data)[0]:9.1%}")
        print(f"{ratio:8.0%}" + "".join(cells), flush=True)
    print("for each: error of the next layer's outputs, one layer pruned, mean over the layers;\n"
          "error of the network's outputs, all pruned; accuracy then. No retraining")


if __name__ == "__main__":
    main()
