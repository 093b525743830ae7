"""The checks of notebook 01 are kind to stubs, diagnose typical mistakes, accept the solutions."""

import pandas as pd
from check_cases import right, unanswered, wrong

from rethinklab.analysis.cost import Cost
from rethinklab.notebook.checks import networks_and_cost as checks

SIZES = {"wide": Cost(1000, 1000, 5000, 10000), "busy": Cost(10, 10, 900, 1800),
         "lazy": Cost(800, 800, 900, 1800), "usual": Cost(100, 100, 2000, 4000)}
TIMES = pd.DataFrame([("unpruned", 0, 1, 100, 2.0), ("unpruned", 0, 64, 100, 50.0),
                      ("pruned", 0, 1, 40, 1.8), ("pruned", 0, 64, 40, 30.0),
                      ("pruned", 1, 1, 40, 1.6), ("pruned", 1, 64, 40, 32.0)],
                     columns=["network", "seed", "batch", "macs", "latency"])


def test_stubs_are_unanswered():
    def dots(layer, side):
        ...

    def gives_dots(layer, side):
        return ...

    for stub in (..., None):
        unanswered(checks.conv_macs, stub)
        unanswered(checks.busiest, stub, SIZES)
        unanswered(checks.conv_cost, stub)
        unanswered(checks.throughput, stub, TIMES)
    unanswered(checks.conv_cost, dots)
    unanswered(checks.conv_cost, gives_dots)


def test_conv_macs():
    check = checks.conv_macs
    right(check, 64 * 32 * 9 * 16 * 16)
    right(check, 2 * 3 * 25 * 49, filters=2, inputs=3, kernel=5, side=7)
    wrong("the weights", check, 64 * 32 * 9)
    wrong("one MAC", check, 2 * 64 * 32 * 9 * 256)
    wrong("kernel is missing", check, 64 * 32 * 256)
    wrong("input channels are missing", check, 64 * 9 * 256)
    wrong("not its rows", check, 64 * 32 * 9 * 16)
    wrong("Multiply the filters", check, 1)
    wrong("one number", check, "4718592")


def test_busiest():
    right(checks.busiest, "busy", SIZES)
    wrong("most multiply-adds in all", checks.busiest, "wide", SIZES)
    wrong("wrong way round", checks.busiest, "lazy", SIZES)
    wrong("another network does more", checks.busiest, "usual", SIZES)
    wrong("name of a network", checks.busiest, 90.0, SIZES)


def parameters(layer):
    return sum(p.numel() for p in layer.parameters())


def out(layer, side):
    return (side + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1


def test_conv_cost():
    check = checks.conv_cost
    right(check, lambda c, side: (parameters(c), c.weight.numel() * out(c, side) ** 2))
    wrong("order is swapped", check,
          lambda c, side: (c.weight.numel() * out(c, side) ** 2, parameters(c)))
    wrong("counts two for each", check,
          lambda c, side: (parameters(c), 2 * c.weight.numel() * out(c, side) ** 2))
    wrong("every place", check, lambda c, side: (parameters(c), c.weight.numel()))
    wrong("not 0 and 0", check, lambda c, side: (0, 0))
    wrong("bias is a parameter", check,
          lambda c, side: (c.weight.numel(), c.weight.numel() * out(c, side) ** 2))
    wrong("no MAC", check, lambda c, side: (parameters(c), parameters(c) * out(c, side) ** 2))
    wrong("stride", check, lambda c, side: (parameters(c), c.weight.numel() * side**2))
    wrong("Without padding", check, lambda c, side: (
        parameters(c), c.weight.numel() * ((side - 1) // c.stride[0] + 1) ** 2))

    def no_groups(c, side):
        weights = c.out_channels * c.in_channels * c.kernel_size[0] ** 2
        return (weights + (0 if c.bias is None else c.out_channels),
                weights * out(c, side) ** 2)

    wrong("own group", check, no_groups)
    wrong("two numbers", check, lambda c, side: 5)
    wrong("must be the function", check, 5)


def test_throughput():
    check = checks.throughput
    right(check, 64 / 0.031, TIMES)
    right(check, round(64 / 0.031), TIMES)
    right(check, 1 / 0.0017, TIMES, batch=1)
    wrong("millisecond", check, 64 / 31, TIMES)
    wrong("batches a second", check, 1 / 0.031, TIMES)
    wrong("milliseconds of a batch", check, 31, TIMES)
    wrong("batch of 1", check, 1 / 0.0017, TIMES)
    wrong("for unpruned", check, 64 / 0.05, TIMES)
    wrong("divide the images", check, 3, TIMES)
    wrong("one number", check, TIMES["latency"], TIMES)
