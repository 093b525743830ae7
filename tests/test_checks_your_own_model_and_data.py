"""The checks of notebook 15 are kind to stubs, diagnose typical mistakes, accept the solutions."""

import pytest
import torch
from check_cases import right, unanswered, wrong
from torch import nn

import rethinklab as rl
from rethinklab.notebook.checks import your_own_model_and_data as checks


def labelled(*labels):
    return rl.Images(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), torch.tensor(labels))


DATA = rl.ImageData("made up", labelled(0, 0, 0, 1, 2), labelled(0, 1, 1, 1, 2, 2, 2, 2),
                    ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3)


def compared(*differences, margin=1.0):
    return rl.compare_paired([80 + d for d in differences], [80] * len(differences), margin=margin,
                             names=("Scratch-E", "Fine-tuned"))


def test_stubs_are_unanswered():
    def dots(data):
        ...

    class Stub(nn.Module):
        def initialise(self):
            ...

    for stub in (..., None):
        unanswered(checks.baseline, stub, DATA)
        unanswered(checks.allowed_claim, stub, compared(1, -1, 2))
        unanswered(checks.equivalence_pairs, stub, 1.0, 1.0)
        unanswered(checks.leaks, stub)
        unanswered(checks.own_rule, stub)
    unanswered(checks.leaks, dots)
    unanswered(checks.leaks, lambda data: ...)
    unanswered(checks.own_rule, Stub)


def test_baseline():
    right(checks.baseline, 1 / 8, DATA)
    right(checks.baseline, torch.tensor(0.125), DATA)
    wrong("in percent", checks.baseline, 12.5, DATA)
    wrong("share of the training images", checks.baseline, 3 / 5, DATA)
    wrong("One over the number", checks.baseline, 1 / 3, DATA)
    wrong("must not be looked", checks.baseline, 1 / 2, DATA)
    wrong("most training images", checks.baseline, 0.9, DATA)


@pytest.mark.parametrize(("comparison", "verdict"), [
    (compared(2, 2.1, 1.9, 2.2), "better"), (compared(-2, -2.1, -1.9), "worse"),
    (compared(0.1, -0.1, 0.05, 0), "equivalent"), (compared(3, -1, 2), "not decided")])
def test_each_verdict_can_be_claimed(comparison, verdict):
    right(checks.allowed_claim, verdict, comparison)


def test_claims_that_go_too_far():
    open_question, better = compared(3, -1, 2), compared(2, 2.1, 1.9, 2.2)
    wrong("does not show that there is none", checks.allowed_claim, "equivalent", open_question)
    wrong("does not bear it out", checks.allowed_claim, "better", open_question)
    wrong("not even have that sign", checks.allowed_claim, "worse", open_question)
    wrong("decide it", checks.allowed_claim, "not decided", better)
    wrong("which one", checks.allowed_claim, "worse", better)
    wrong("must be one of", checks.allowed_claim, "good", better)


def test_equivalence_pairs():
    check = checks.equivalence_pairs
    right(check, rl.pairs_for(0.8, 0.0, 3.0, margin=1.0), 3.0, 1.0)
    wrong("as large as the margin", check, rl.pairs_for(0.8, 1.0, 3.0), 3.0, 1.0)
    wrong("both sides", check,
          rl.pairs_for(0.8, 0.0, 3.0, margin=1.0, claim="non-inferiority"), 3.0, 1.0)
    wrong("Ask rl.pairs_for", check, 3, 3.0, 1.0)
    wrong("one number", check, "15", 3.0, 1.0)


def keys(images):
    return [pixels.numpy().tobytes() for pixels in images.pixels]


def test_leaks():
    check = checks.leaks
    right(check, lambda data: sum(key in set(keys(data.train)) for key in keys(data.test)))
    wrong("different images", check,
          lambda data: len(set(keys(data.train)) & set(keys(data.test))))
    wrong("training images or pairs", check, lambda data: sum(
        a == b for a in keys(data.train) for b in keys(data.test)))
    wrong("Copies inside", check, lambda data: sum(
        keys(images).count(key) > 1 for images in (data.train, data.test)
        for key in keys(images)))
    wrong("same brightness", check, lambda data: sum(
        int(p.long().sum()) in {int(q.long().sum()) for q in data.train.pixels}
        for p in data.test.pixels))
    wrong("number of images", check, lambda data: bool(set(keys(data.train)) & set(
        keys(data.test))))
    wrong("without a common image", check, lambda data: len(data.test))
    wrong("Three of four", check, lambda data: 0)
    wrong("must be the function", check, 3)


def network(rule):
    class Scaled(nn.Module):
        def __init__(self, num_classes=3):
            super().__init__()
            self.conv = nn.Conv2d(3, 16, 3, bias=False)
            self.scale = nn.Parameter(torch.empty(16, 1, 1))
            self.head = nn.Linear(16, num_classes)
            self.initialise()

        def forward(self, images):
            return self.head(torch.relu(self.scale * self.conv(images)).mean((2, 3)))

        def initialise(self):
            rule(self)

    return Scaled


def drawn(net):
    nn.init.normal_(net.conv.weight, std=0.1)


def solution(net):
    drawn(net)
    nn.init.ones_(net.scale)


def seeded(net):
    torch.manual_seed(0)
    solution(net)


def test_own_rule():
    check = checks.own_rule
    right(check, network(solution))
    wrong("without new values.*scale", check, network(drawn))
    wrong("start at 1", check, network(lambda net: (drawn(net), nn.init.zeros_(net.scale))))
    wrong("PyTorch's default", check, network(lambda net: nn.init.ones_(net.scale)))
    wrong("wanted are 0 and 0.1", check, network(lambda net: (
        nn.init.normal_(net.conv.weight), nn.init.ones_(net.scale))))
    wrong("same weights", check, network(seeded))
    wrong("all zero", check, network(lambda net: (solution(net), nn.init.zeros_(net.head.weight))))
    wrong("leave it alone", check,
          network(lambda net: (solution(net), nn.init.normal_(net.head.weight))))
    wrong("must be the class", check, network(solution)())
