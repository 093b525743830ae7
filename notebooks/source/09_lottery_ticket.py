# %% [markdown]
# # 09 · Lottery ticket
#
# **Does a sparse network do well from the large network's own first weights, and not from others?**

# %% [markdown]
# > **You will be able to** find a winning ticket in one shot and in rounds, say how the ticket differs from the random network that it is compared with, and judge how far a claim about tickets depends on the learning rate.
# >
# > **You need** [08 · Weight level](08_weight_level.ipynb).
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd
import torch
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import lottery_ticket as checks

lab = start(9)

# %% [markdown]
# ## 1. The method, in full
#
# Frankle and Carbin (2019) train a network, remove its smallest weights, and set those that stay *back to what they were before training*. The sparse network with these first weights is the *winning ticket*, if it trains as well as the large one. Their reading: it won the lottery of initialisation.
#
# This can be done once, *one-shot*, or in *rounds*: each round trains the ticket anew and removes a share of what still lives.
#
# **Predict.** A round removes 20 % of the living weights. How many rounds until fewer than half are left?

# %%
def next_masks(model, masks, share):
    weights = {name: value.detach() * masks.get(name, 1) for name, value
               in model.named_parameters() if value.ndim == 4}
    sizes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    living = sizes[sizes > 0].sort().values
    return {name: weight.abs() > living[int(len(living) * share)]
            for name, weight in weights.items()}


def ticket(initial, masks):  # the first weights, where the masks let them live
    network = rl.build_model("vgg11", width=0.0625)
    network.load_state_dict({name: value * masks.get(name, 1)
                             for name, value in initial.state_dict().items()})
    return network


def in_rounds(initial, data, recipe, rounds, share):
    masks = {}
    for _ in range(rounds):
        hold = rl.trainers.masks.HoldMasks(masks)
        trained = rl.train(ticket(initial, masks), data, recipe, callbacks=[hold], progress=False)
        masks = next_masks(trained.model, masks, share)
    return masks


# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
tiny, short = data.subset(320, 100), rl.Recipe(epochs=2)
first = rl.build_model("vgg11", width=0.0625)
masks = in_rounds(first, tiny, short, rounds=3, share=0.2)
trained = rl.train(first, tiny, short, progress=False).model
plan = rl.pruners.Lottery(target=0.2, rounds=3).fit(
    trained, tiny, origin=rl.Origin(short, seed=0, initial=first))
print("same masks:", all(torch.equal(masks[name], mask) for name, mask in plan.masks.items()))
pairs = zip(ticket(first, masks).parameters(), plan.ticket(first).parameters())
print("same ticket:", all(torch.equal(a, b) for a, b in pairs))
living = sum(int(mask.sum()) for mask in masks.values())
print(f"living after three rounds: {living / sum(m.numel() for m in masks.values()):.1%}")

# %% [markdown]
# **What you see.** The functions above and the package find the same masks and the same ticket. After $r$ rounds $0.8^r$ of the weights live, so the fourth round is the first to leave fewer than half.
#
# **Predict.** How many of these weights would be kept by one-shot pruning of the same network to the same number?

# %%
once = rl.pruners.Lottery(target=1 - 0.8**3).fit(trained, tiny)
both = sum(int((mask & plan.masks[name]).sum()) for name, mask in once.masks.items())
print(f"kept by both: {both / living:.1%} of the weights that the rounds keep")

# %% [markdown]
# ## 2. Which weights survive
#
# Now a network that has learnt something, pruned in one shot. For comparison, the same rule is applied to the network *before* training, where it keeps the weights that were drawn large.
#
# **Predict.** A weight survives where it is large *after* training. How many of the survivors are among those that were largest before?

# %%
held, recipe = data.subset(2000, 300).hold_out(0.1), rl.Recipe(epochs=4, lr=0.05)
new = rl.build_model("vgg11", width=0.125)
large = rl.train(new, held, recipe, progress=False)
plan, early = (rl.pruners.Lottery(target=0.8).fit(model, held) for model in (large.model, new))
tools = rl.analysis.weights
whole = tools.mask_overlap(early.masks, plan.masks).iloc[-1]  # of all layers together
print(f"unpruned: {large.test_accuracy:.1%} of {len(held.test)} held-out images")
print(f"survivors that were among the largest before training: {whole['overlap']:.1%}, "
      f"by chance {whole['chance']:.1%}")

# %% [markdown]
# **What you see.** Most survivors were among the largest from the start, far more than chance would give. In so short a training weights move little, and pruning by magnitude keeps what was drawn large.

# %% [markdown]
# ## 3. What the control differs in
#
# The control is the same mask with other random weights. The kit draws them as the study's released code does, with the spread that suits a layer of so few connections.
#
# **Predict.** Nothing in the figure below has been trained. Sketch its three histograms first: all weights before training (*Unpruned*), those of the control (*Scratch-E*, the regime that trains it), and those of the ticket before its training.

# %%
parts = []
starts = {"unpruned": new, "ticket": plan.ticket(new), "scratch-e": plan.scratch(new, seed=1)}
for name, network in starts.items():
    alive = [weight if name == "unpruned" else weight[plan.masks[f"{layer}.weight"]]
             for layer, weight in tools.conv_weights(network.state_dict()).items()]
    shares = tools.histogram(tools.pooled(alive), tools.bin_edges(0.4, bins=60))
    parts.append(shares.assign(network=name, layer="all", place=0))
rl.figures.weights(pd.concat(parts))

# %% [markdown]
# **What you see.** The ticket is not an average draw: its weights are large ones, with hardly any near zero before the first step. The control is wider than the dense network too, but weights near zero are its most frequent ones. The two arms differ in how large their weights are as well as in which weights they are. Exercise 3 writes a control that keeps the sizes.

# %% [markdown]
# ## 4. Setting back, but not all the way
#
# For larger networks Frankle et al. (2019) set weights back to an *early epoch*, not to the very start. This is *rewinding*. In the package the plan carries the epoch: `Lottery(0.8, rewind=1)`.
#
# **Predict.** Compare the survivors before training, and after one epoch, with what they became in the end. How many have their final sign already?

# %%
one = rl.train(new, held, recipe, last_epoch=1, progress=False).model  # the first epoch only
masks = {name.removesuffix(".weight"): mask for name, mask in plan.masks.items()}
final = tools.conv_weights(large.model.state_dict())
for name, model in (("before training", new), ("after one epoch", one)):
    moved = tools.movement(tools.conv_weights(model.state_dict()), final, masks).iloc[-1]
    print(f"{name}: {moved['sign_agreement']:.2%} have their final sign, "
          f"and all together still move by {moved['distance']:.1%} of their length")

# %% [markdown]
# **What you see.** Nearly all survivors have their final sign before training, so the draw has set it. After one epoch what is left of the way is shorter: a rewound ticket starts from a network that has begun to learn.

# %% [markdown]
# ## 5. The recorded study
#
# VGG-11, 80 % of the weights removed in one shot, six seeds. The winning ticket trains as long as Scratch-E, which has the same masks and new weights. Scratch-B trains new weights for as much computation as the large network had.
#
# **Predict.** Where will the ticket end: with the regimes that keep trained weights, or with those that draw new ones?

# %%
results = lab.results("lottery-vgg11-digits-0.8-classroom")
results.table().set_index("regime")

# %%
rl.figures.regimes(results)

# %%
for verdict in results.verdicts():
    if "Winning ticket" in str(verdict):
        print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** The ticket lies above Scratch-E in every seed, and is shown to be better. Against Scratch-B, which has more epochs, no difference is shown. At equal epochs the first weights, or weights of their sizes, are worth something here; longer training from new ones makes up for it.

# %% [markdown]
# ## 6. Large and small learning rates
#
# Liu et al. (2019) found tickets to help at a small learning rate only. At the large one, which gives the better networks, random weights did as well (their Figure 7). Six recorded studies of VGG-16 repeat the one-shot panel with small networks, few epochs and two seeds. The rates in their names are those of the paper; those that were used stand in the figure.
#
# **Predict.** Four lines: ticket and random weights, at both rates. Which two will be close together?

# %%
names = lab.choose([f"lottery-vgg16-digits-oneshot-{removed}-lr{rate}-quick"
                    for rate in (0.1, 0.01) for removed in (49, 79, 96)])
studies = [lab.results(name) for name in names]
(table,) = rl.results.comparisons.lottery_tables(studies).values()
rl.figures.lottery(table)

# %%
for study in studies:
    row, pair = study.frame.iloc[0], study.compare("ticket", "scratch-e")
    print(f"lr {row['lr']:g}, {float(row['target']):.0%} removed: ticket minus random "
          f"{pair.mean:+.1f} ({pair.low:+.0f} to {pair.high:+.0f}), n = {pair.n}: {pair.verdict}; "
          f"unpruned {study.accuracies('unpruned').mean():.0f} %")

# %% [markdown]
# **What you see.** The two lines at the large rate are close until 96 % are removed. The ticket's mean lies above that of random weights in all six comparisons. But each of them, judged by itself, rests on two seeds, and only one is decided. At the small rate even the unpruned network is far from trained. So the paper's pattern is neither reproduced nor refuted.

# %% [markdown]
# ## 7. What this does not show
#
# - That the ticket's *values* matter. The control differs in the size of its weights (section 3), and only a control of the same sizes could tell.
# - That tickets help at large learning rates in general. These runs are short, and a head start may weigh more in a short run. The paper found the difference to vanish in long training.
# - What rounds are worth. The recorded studies are one-shot.
# - What a ticket saves. The large network has to be trained to find it.

# %% [markdown]
# ## 8. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* How many percentage points of accuracy does the ticket lose from the smallest to the largest share removed in `table`, at the larger learning rate, on average over seeds?

# %% exercise="ticket_loss" points=1
### BEGIN SOLUTION
rows = table[(table["lr"] == table["lr"].max()) & (table["regime"] == "ticket")]
means = rows.groupby("ratio")["test_accuracy"].mean() * 100  # by the share removed
loss = means[means.index.min()] - means[means.index.max()]
### END SOLUTION

# %% check="ticket_loss"
lab.check(checks.ticket_loss, loss, table)

# %% [markdown] hint="ticket_loss"
# Keep the rows of one rate and of the regime `ticket`, then take a mean for each `ratio`. Accuracies in `table` are fractions.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* Each round removes 20 % of the living weights. What is the smallest number of rounds after which fewer than 10 % of all weights are left?

# %% exercise="rounds_needed" points=1
### BEGIN SOLUTION
rounds = min(number for number in range(1, 100) if 0.8**number < 0.1)
### END SOLUTION

# %% check="rounds_needed"
lab.check(checks.rounds_needed, rounds)

# %% [markdown] hint="rounds_needed"
# After one round 80 % are left, after two 80 % of these. Try powers of 0.8.

# %% [markdown]
# **Exercise 3.** *Medium, 20 minutes.* Write a fairer control. The function takes a layer's first weights and its mask, and gives a new tensor: the same living values, dealt out anew at random among the living places, and zero elsewhere.

# %% exercise="dealt_anew" points=2
def dealt_anew(weight, mask):
    ### BEGIN SOLUTION
    values = weight[mask]
    dealt = torch.zeros_like(weight)
    dealt[mask] = values[torch.randperm(len(values))]
    return dealt
    ### END SOLUTION

# %% check="dealt_anew"
lab.check(checks.dealt_anew, dealt_anew)

# %% [markdown] hint="dealt_anew"
# `weight[mask]` are the living values, `torch.randperm(n)` is a random order of n things, and `dealt[mask] = ...` fills the living places.

# %% [markdown] more="dealt_anew"
# Put it to use. One seed decides nothing; with several it is a study.
#
# ```python
# control = plan.ticket(new)
# for name, mask in plan.masks.items():
#     parameter = control.get_parameter(name)
#     parameter.data = dealt_anew(parameter.data, mask)
# for network in (plan.ticket(new), control, plan.scratch(new, seed=1)):
#     result = rl.train(network, held, recipe, callbacks=plan.callbacks(), progress=False)
#     print(result.test_accuracy)
# ```

# %% [markdown]
# ## Recall
#
# 1. Which two things does a winning ticket take from the large network?
# 2. What share of the weights lives after r rounds that each remove 20 %?
# 3. In which two ways does the random control differ from the ticket?
# 4. What does rewinding set weights back to?
# 5. Why does a comparison at one learning rate not settle whether tickets matter?

# %% [markdown]
# ## References
#
# - J. Frankle, M. Carbin. The lottery ticket hypothesis: finding sparse, trainable neural networks. ICLR 2019. [doi:10.48550/arXiv.1803.03635](https://doi.org/10.48550/arXiv.1803.03635)
# - J. Frankle, G. K. Dziugaite, D. M. Roy, M. Carbin. Stabilizing the lottery ticket hypothesis. 2019. [doi:10.48550/arXiv.1903.01611](https://doi.org/10.48550/arXiv.1903.01611)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
#
# **Where to go next.** [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) puts the methods side by side. [13 · Fair budgets](13_fair_budgets.ipynb) asks how long each should train.
