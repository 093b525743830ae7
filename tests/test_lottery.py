"""Winning tickets against the procedure written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import rethinklab as rl
from rethinklab.errors import ConfigError, PlanError
from rethinklab.pruners import L1Norm, Lottery, Origin
from rethinklab.pruners.lottery import rewound
from rethinklab.trainers.masks import HoldMasks

RECIPE = rl.Recipe(epochs=3, lr=0.05, batch_size=66)


@pytest.fixture(scope="module")
def initial():
    return rl.build_model("vgg11", width=0.0625, seed=6)


@pytest.fixture(scope="module")
def origin(initial):
    return Origin(RECIPE, seed=2, initial=initial, device="cpu")


@pytest.fixture(scope="module")
def trained(initial, small):
    return rl.train(initial, small, RECIPE, seed=2, device="cpu", progress=False).model


def convolutions(model):
    return {name: value.detach() for name, value in model.named_parameters() if value.ndim == 4}


def survivors(model, share):
    """Masks by the released rule, in plain Python: sorted place T - Z + int(Z * share)."""
    weights = convolutions(model)
    together = sorted(w for value in weights.values() for w in value.abs().flatten().tolist())
    living = sum(w != 0 for w in together)
    threshold = together[len(together) - living + int(living * share)]
    return {name: value.abs() > threshold for name, value in weights.items()}


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_one_shot_is_the_magnitude_mask_of_the_trained_network(trained, small):
    plan = Lottery(0.2).fit(trained, small)
    assert same(plan.masks, survivors(trained, 0.2))


def test_each_round_prunes_the_ticket_that_was_trained(initial, trained, small, origin):
    masks = survivors(trained, 0.2)
    counts = [sum(int(m.sum()) for m in masks.values())]
    for _ in (2, 3):
        ticket = rl.build_model("vgg11", width=0.0625)
        ticket.load_state_dict(initial.state_dict())
        with torch.no_grad():
            for name, mask in masks.items():
                ticket.get_parameter(name).mul_(mask)
        outcome = rl.train(ticket, small, RECIPE, seed=2, device="cpu", progress=False,
                           callbacks=[HoldMasks(masks)])
        before, masks = masks, survivors(outcome.model, 0.2)
        counts.append(sum(int(m.sum()) for m in masks.values()))
        assert all(not (masks[name] & ~before[name]).any() for name in masks), "a weight came back"
    plan = Lottery(0.2, rounds=3).fit(trained, small, origin)
    assert same(plan.masks, masks)
    one_shot = Lottery(1 - 0.8**3).fit(trained, small)
    assert not same(plan.masks, one_shot.masks), "the rounds chose nothing anew"
    living = sum(value.numel() for value in convolutions(trained).values())
    for number, count in enumerate(counts, 1):
        living -= int(living * 0.2) + 1  # the weight at the threshold goes too
        assert count == living
        total = sum(value.numel() for value in convolutions(trained).values())
        assert count / total == pytest.approx(0.8**number, abs=number / total * 2)


def test_the_ticket_is_the_initial_network_times_the_mask(initial, trained, small):
    plan = Lottery(0.5).fit(trained, small)
    ticket = plan.ticket(initial)
    for name, value in ticket.named_parameters():
        start = initial.get_parameter(name)
        expected = start * plan.masks[name] if name in plan.masks else start
        assert torch.equal(value, expected), name
    assert torch.equal(ticket.features[1].running_mean, initial.features[1].running_mean)


def test_the_network_that_is_pruned_and_the_initial_one_stay(initial, trained, small, origin):
    before = state(initial), state(trained)
    Lottery(0.3, rounds=2, rewind=1).fit(trained, small, origin)
    assert same(before[0], state(initial))
    assert same(before[1], state(trained))


def test_rewinding_is_the_network_after_so_many_epochs(initial, small, origin):
    class Snapshot(rl.Callback):
        taken = None

        def after_epoch(self, now):
            if now.epoch == 1:
                self.taken = state(now.model)

    snapshot = Snapshot()
    rl.train(initial, small, RECIPE, seed=2, device="cpu", progress=False, callbacks=[snapshot])
    assert same(state(rewound(initial, small, origin, 2)), snapshot.taken)
    assert rewound(initial, small, origin, 0) is initial


def test_rounds_rewind_and_train_the_rest_of_the_epochs(initial, trained, small, origin):
    plan = Lottery(0.4, rounds=2, rewind=2).fit(trained, small, origin)
    assert plan.rewind == 2
    masks = survivors(trained, 0.4)
    ticket = rewound(initial, small, origin, 2)
    with torch.no_grad():
        for name, mask in masks.items():
            ticket.get_parameter(name).mul_(mask)
    outcome = rl.train(ticket, small, RECIPE, seed=2, device="cpu", progress=False,
                       first_epoch=2, callbacks=[HoldMasks(masks)])
    assert len(outcome.history) == 1
    assert outcome.history["lr"].tolist() == pytest.approx([0.0005])
    assert same(plan.masks, survivors(outcome.model, 0.4))


def test_the_ticket_regime_trains_what_rewinding_leaves(tmp_path, small, monkeypatch):
    study = rl.Study("digits", "vgg11", "lottery", 0.3, width=0.0625, seeds=1, recipe=RECIPE,
                     regimes=("ticket", "scratch-e"), method_options={"rewind": 1})
    monkeypatch.setattr("rethinklab.experiments.stages.load_data", lambda *a, **k: small)
    store = rl.Store(tmp_path)
    ticket, scratch = (t for t in study.trials(small) if t.regime in ("ticket", "scratch-e"))
    assert rl.run_one(ticket, store, "cpu")["epochs"] == 2
    assert rl.run_one(scratch, store, "cpu")["epochs"] == 3


def test_structured_one_shot_is_the_plan_of_l1(trained, small):
    plan = Lottery(0.5, structured=True).fit(trained, small)
    l1 = L1Norm(0.5).fit(trained, small)
    assert plan == replace(l1, method="lottery")
    widths = Lottery({"features.0": 2, "features.4": 0.25}, structured=True).fit(trained, small)
    assert widths.kept_widths["features.0"] == 2


def test_structured_rounds_compose_their_indices(trained, initial, small, origin):
    plan = Lottery(0.3, rounds=2, structured=True).fit(trained, small, origin)
    first = L1Norm(0.3).fit(trained, small)
    ticket = rl.train(first.ticket(initial), small, RECIPE, seed=2, device="cpu",
                      progress=False).model
    for name, width in plan.widths.items():
        filters = ticket.get_submodule(name).weight.detach()
        sums = [float(kernel.abs().double().sum()) for kernel in filters]
        count = int(width * 0.49 + 1e-9)  # 0.7 * 0.7 of the channels, truncated once
        best = sorted(sorted(range(len(sums)), key=sums.__getitem__)[-count:])
        assert plan.keep[name] == tuple(first.keep[name][index] for index in best)
    small_net = plan.ticket(initial)
    kept = list(plan.keep["features.0"])
    assert torch.equal(small_net.features[0].weight, initial.features[0].weight[kept])


def test_rounds_without_an_origin_or_an_initial_network_say_so(trained, small, origin):
    pruner = Lottery(0.2, rounds=2)
    with pytest.raises(PlanError, match="origin"):
        pruner.fit(trained, small)
    with pytest.raises(PlanError, match="network before training"):
        pruner.fit(trained, small, Origin(RECIPE))
    with pytest.raises(PlanError, match="rewind 3 is not before the end of the 3 epochs"):
        Lottery(0.2, rounds=2, rewind=3).fit(trained, small, origin)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"rounds": 1.5}, {"rounds": True},
                                     {"rewind": -1}, {"rewind": 0.5}])
def test_numbers_without_meaning_are_refused(options):
    with pytest.raises(ConfigError):
        Lottery(0.2, **options)


@pytest.mark.parametrize(("target", "options"), [
    ("A", {}), ({"features.0": 0.5}, {}), ("A", {"structured": True, "rounds": 2})])
def test_targets_that_make_no_rounds_are_refused(target, options):
    with pytest.raises(PlanError, match="ratio"):
        Lottery(target, **options)


@pytest.mark.parametrize("structured", [False, True])
def test_a_rehearsal_tells_the_last_round(initial, small, structured):
    plan = Lottery(0.2, rounds=4, structured=structured).rehearse(initial, small)
    if structured:
        assert plan.kept_widths["features.25"] == int(plan.widths["features.25"] * 0.8**4)
    else:
        total = sum(mask.numel() for mask in plan.masks.values())
        left = sum(int(mask.sum()) for mask in plan.masks.values())
        assert left / total == pytest.approx(0.8**4, abs=0.001)
