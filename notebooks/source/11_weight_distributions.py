# %% [markdown]
# # 11 · Weight distributions
#
# **Can you tell from trained weights whether they were inherited from a large network or learnt from scratch?**

# %% [markdown]
# > **You will be able to** draw a histogram of the weights that live, see what a cut leaves in it, measure how far training moves weights, and say what none of this proves.
# >
# > **You need** [08 · Weight level](08_weight_level.ipynb) for masks, and [05 · Network slimming](05_network_slimming.ipynb) for scales.
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd, torch, rethinklab as rl
from rethinklab.analysis import weights as wt
from rethinklab.notebook import start, widgets
from rethinklab.notebook.checks import weight_distributions as checks
from rethinklab.trainers.histograms import HistogramRecorder
lab = start(11)

# %% [markdown]
# ## 1. A histogram of what lives, in full
#
# Pruning single weights leaves a layer its shape and holds weights at zero with a *mask*, True where a weight lives. What matters is what lives: the weights under the mask. A weight that is exactly zero *without* a mask lives too, and gets a share of its own, since no bin may swallow it.
#
# **Predict.** Below, `second` has lost its smaller half. How does a histogram without the mask differ from one with it?

# %%
# NBVAL_CHECK_OUTPUT
def live_histogram(weights, masks, edges):
    live = torch.cat([weight[masks[name]] if name in masks else weight.flatten()
                      for name, weight in weights.items()]).double()
    exact = (live == 0).double().mean()
    counts = torch.histogram(live[live != 0], torch.tensor(edges)).hist
    return counts / len(live), exact


torch.manual_seed(0)
toy = {"first": 0.1 * torch.randn(4, 3, 3, 3), "second": 0.1 * torch.randn(8, 4, 3, 3)}
masks = {"second": toy["second"].abs() > toy["second"].abs().median()}
toy["second"] = toy["second"] * masks["second"]
edges = wt.bin_edges(0.45, bins=18)
shares, exact = live_histogram(toy, masks, edges)
everything, dead = live_histogram(toy, {}, edges)
print(f"exactly zero: {exact:.1%} with the mask, {dead:.1%} without")
live = wt.pooled(wt.live_values(weight, masks.get(name)) for name, weight in toy.items())
theirs = torch.tensor(wt.histogram(live, edges)["share"])  # below, the bins, above, exactly zero
print("same shares:", torch.allclose(shares, theirs[1:-2]), bool(exact == theirs[-1]))

# %% [markdown]
# **What you see.** With the mask no weight is exactly zero; without it the dead ones make a spike that hides the rest. The package counts as the function above does, so the package is used from here on.

# %% [markdown]
# ## 2. What the cut does
#
# Now a network that has learnt something. *Weight-level* pruning removes the smallest 80 % of all convolution weights under one threshold.
#
# **Predict.** Sketch the histogram of the weights that live, right after the cut. Then sketch it for *new* weights drawn at the same places.

# %%
task = rl.load_data("digits").subset(3000, 500).hold_out(0.1)
recipe, recorder = rl.Recipe(epochs=4, lr=0.05), HistogramRecorder()  # of weights, by epoch
large = rl.train(rl.build_model("vgg11", width=0.125), task, recipe, callbacks=[recorder],
                 progress=False)
plan = rl.pruners.WeightLevel(target=0.8).fit(large.model, task)
inherited, fresh = plan.apply(large.model), plan.scratch(large.model, seed=1)
for name, model in {"unpruned": large.model, "pruned": inherited, "new weights": fresh}.items():
    print(f"{name:12} {rl.evaluate(model, task)[0]:.1%} of {len(task.test)} held-out images")

# %% [markdown]
# Fine-tuning follows: a quarter of the large network's epochs, at the last learning rate. It begins with the inherited weights and holds the mask.

# %%
budget = rl.REGIMES["finetune"].budget(recipe, plan.flops_ratio)
tuned = rl.train(plan.apply(large.model), task, budget, callbacks=plan.callbacks(), progress=False)
lives = wt.conv_weights(plan.masks)
networks = {"unpruned": (large.model, {}), "pruned": (inherited, lives),
            "finetune": (tuned.model, lives)}
print(f"fine-tuned   {tuned.test_accuracy:.1%}, epochs: {budget.epochs}")

# %%
def histogram_of(model, masks, edges=wt.bin_edges(0.6, bins=60)):
    layers = wt.conv_weights(model.state_dict())
    live = wt.pooled(wt.live_values(w, masks.get(name)) for name, w in layers.items())
    share = len(live) / sum(w.numel() for w in layers.values())
    return wt.histogram(live, edges).assign(layer="all", place=0, live=share)


here = pd.concat([histogram_of(*of).assign(network=name) for name, of in networks.items()])
rl.figures.weights(here)

# %% [markdown]
# **What you see.** The cut leaves a gap around zero as wide as twice the threshold, and the short fine-tuning leaves it nearly as it was.

# %%
gap = min(float(wt.live_values(weight, lives[name]).abs().min())
          for name, weight in wt.conv_weights(inherited.state_dict()).items())
for name, model in {"inherited": inherited, "fine-tuned": tuned.model, "new": fresh}.items():
    live = wt.pooled(wt.live_values(weight, lives[layer])
                     for layer, weight in wt.conv_weights(model.state_dict()).items())
    print(f"{name:10} {float((live.abs() < gap).double().mean()):.1%} within {gap:.3f} of zero")

# %% [markdown]
# **What you see.** The new weights fill the gap before any training: they are drawn around zero, and nothing has sorted them by size. So the gap is a mark of the *cut*, not of the architecture.

# %% [markdown]
# **Explore.** The large network was watched while it trained. Choose a layer and move through the epochs: the dashed line is the start.
#
# **Predict.** In which layers does the histogram change most, and does any layer grow a group of weights near zero by itself?

# %%
widgets.weight_histograms(recorder.table())

# %% [markdown]
# **What you see.** In these few epochs the histograms hardly change: each stays the hump that it was drawn as, a little wider in the early layers. No layer sorts its weights into large and small ones; the threshold cuts through the middle of one hump.

# %% [markdown]
# ## 3. After the whole training
#
# The recorded study repeats this with several seeds and full budgets. *LR rewinding* also starts from inherited weights, but trains them for as long as the large network, from a high learning rate. *Scratch-E* trains new weights for as many epochs, *Scratch-B* for as much computation.
#
# **Predict.** In which of the four will the gap still be there at the end?

# %%
name = "weight-level-vgg11-digits-0.8-classroom"
weights = lab.evidence("weights", name)
figure = rl.figures.weights(weights)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** After fine-tuning the gap is as the cut left it. From scratch there is none. LR rewinding stands in between: a dip around zero remains, but weights have moved into it. So a gap says that the weights were inherited *and* hardly trained since; that there is none does not say that they were learnt anew.

# %% [markdown]
# The threshold is one for the whole network, but layers differ in the size of their weights.
#
# **Predict.** Which layers will show the widest gap for their size, the early or the late ones?

# %%
rl.figures.weight_layers(weights[weights["network"].isin(["unpruned", "finetune", "scratch-e"])])

# %% [markdown]
# **What you see.** Each panel has its own horizontal axis. The gap takes a larger part of it in the later layers, whose weights are smaller. There the one threshold reaches furthest into the hump of the unpruned network, and fewest weights stay.

# %% [markdown]
# ## 4. After channel pruning
#
# L1-norm pruning removes whole filters, those of small total.
#
# **Predict.** Will the weights of the filters that stay have a gap?

# %%
recorded = rl.load_studies(lab.root / "data" / "results")
channels = recorded["l1-vgg11-digits-half-classroom"].table("weights")
figure = rl.figures.weights(channels)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** No gap anywhere: a large filter holds small weights too. The histograms of fine-tuned and scratch-trained networks look much alike here; they differ in width rather than in shape.

# %% [markdown]
# Slimming looks at other values, the scales of batch normalisation. It trains with a penalty that pulls them towards zero.
#
# **Predict.** Will the scales fall into two groups, those near zero and the rest?

# %%
rl.figures.scales(recorded["slimming-vgg11-digits-half-classroom"].table("scales"))

# %% [markdown]
# **What you see.** With the penalty all scales are smaller, and every convolution has a peak next to zero beside a second hump. In the later convolutions the hump itself lies nearer to zero, so one threshold takes more of them. [Lesson 12](12_architecture_patterns.ipynb) shows which layers lose what, and a study whose penalty was too strong.

# %% [markdown]
# ## 5. How far training moves weights
#
# Compare the weights at the end of a training with those at its beginning, layer by layer: the share that keeps its **sign**, and the **distance** $\lVert w_1 - w_0 \rVert / \lVert w_0 \rVert$. Fine-tuning begins with inherited weights, scratch training with new ones.
#
# **Predict.** Which share of the signs survives a training from scratch? Half of them would be chance.

# %%
moved = recorded["l1-vgg11-digits-half-classroom"].table("movement")
figure = rl.figures.movement(moved)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** Fine-tuning keeps nearly every sign and moves the weights by a small fraction of their size: its result is the inherited network, slightly corrected. LR rewinding moves them much further. From scratch the distance is larger still, and even so most signs are those of the random start.

# %% [markdown]
# ## 6. Are they in one valley?
#
# Two networks of one architecture are *linearly connected* if the error stays low on the straight line between their weights. The **barrier** is how far it rises above the line between the two ends. At every place the statistics of batch normalisation are estimated anew, or the averages would be wrong for a reason that has nothing to do with the weights.
#
# The figure is of another study: VGG-16 at quick scale, three seeds.
#
# **Predict.** How high is the barrier between a fine-tuned network and one from scratch? And between two fine-tuned networks of different seeds?

# %%
rl.figures.barrier(recorded["l1-vgg16-digits-quick"].table("barrier"))

# %% [markdown]
# **What you see.** Between the ends nearly everything is lost, and for two fine-tuned networks as much as for a fine-tuned and a scratch one. So the barrier does not tell inherited weights from new ones. In all three pairs the networks had different random starts; a pair with the same start was not measured. Channels were not aligned: filter 3 of one network need not do the work of filter 3 of another.

# %% [markdown]
# ## 7. Do two seeds keep the same weights?
#
# If magnitude found the weights that the *task* needs, two networks might keep the same places. The **overlap** is what both keep over what one of them keeps on average. Two masks drawn at random in each layer also overlap a little: that is chance.
#
# **Predict.** Each network keeps 20 % of its weights. How much above chance is the overlap?

# %%
rl.figures.overlap(recorded[name].table("overlap"))

# %% [markdown]
# **What you see.** The line of the overlap lies on that of chance, or very little above it. Which places stay depends on the random start. What repeats from seed to seed is *how many* weights each layer keeps, and that is architecture.

# %% [markdown]
# ## 8. What are the inherited weights worth?
#
# Histograms look different; does accuracy? The same study, by regime:
#
# **Predict.** Order the four trained small networks by accuracy.

# %%
results = lab.results(name)
rl.figures.regimes(results)

# %%
print(results.table().to_string(index=False), end="\n\n")
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Scratch-B, without a gap, is better than fine-tuning, which has one. Scratch-E is worse than LR rewinding, which has as many epochs; the other two comparisons are not decided. The look of the weights does not predict the order.

# %% [markdown]
# ## 9. What this does not show
#
# - What a weight does. Batch normalisation follows every convolution here, so a filter's weights can be multiplied by any positive number without changing the network. The width of a histogram reflects learning rate, weight decay and time.
# - That networks far apart differ in function. Reordering channels changes all places and no output.
# - That the gap is harmful or useful. It is a trace of the cut.
# - What holds for long training at full width. These networks are slim, with few epochs.

# %% [markdown]
# ## 10. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* In which layer does Scratch-E keep the smallest share of its signs, as a mean over seeds? Give the name as it stands in `moved`. The rows called "all" are the whole network and no layer.

# %% exercise="fewest_signs" points=1
### BEGIN SOLUTION
rows = moved.query("regime == 'scratch-e' and layer != 'all'")
layer = rows.groupby("layer")["sign_agreement"].mean().idxmin()
### END SOLUTION

# %% check="fewest_signs"
lab.check(checks.fewest_signs, layer, moved, "scratch-e")

# %% [markdown] hint="fewest_signs"
# Keep the rows of that regime without the rows of "all", then take the mean of `sign_agreement` for each layer.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* Two masks over 1,000 places are drawn at random. One keeps 100 places, the other 300. Which overlap is to be expected: what both keep, over what one of them keeps on average?

# %% exercise="expected_overlap" points=1
### BEGIN SOLUTION
expected = (100 * 300 / 1000) / ((100 + 300) / 2)
### END SOLUTION

# %% check="expected_overlap"
lab.check(checks.expected_overlap, expected, 1000, 100, 300)

# %% [markdown] hint="expected_overlap"
# Each of the 100 places is among the other mask's 300 with a probability of 300 in 1,000.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write the share of *live* weights that keep their sign. `before` and `after` are tensors of one shape, `mask` is True where a weight lives. The sign of 0 is 0.

# %% exercise="sign_agreement" points=2
def sign_agreement(before, after, mask):
    ### BEGIN SOLUTION
    return float((before[mask].sign() == after[mask].sign()).double().mean())
    ### END SOLUTION

# %% check="sign_agreement"
lab.check(checks.sign_agreement, sign_agreement)

# %% [markdown] hint="sign_agreement"
# Take what lives of both tensors first. `tensor.sign()` gives -1, 0 or 1.

# %% [markdown] more="sign_agreement"
# Then measure the fine-tuning of section 2:
#
# ```python
# start_of, end = (wt.conv_weights(m.state_dict()) for m in (inherited, tuned.model))
# for layer in start_of:
#     print(layer, sign_agreement(start_of[layer], end[layer], lives[layer]))
# ```

# %% [markdown]
# ## Recall
#
# 1. Why does a histogram of pruned weights need the mask?
# 2. What makes the gap around zero, and what closes it?
# 3. Why does channel pruning leave none?
# 4. What does a high barrier between two networks say, and what not?
# 5. Two seeds keep weights at different places. What do their masks have in common?
# 6. Why may the width of a histogram mean little in a network with batch normalisation?

# %% [markdown]
# ## Where to go next
#
# [12 · Architecture patterns](12_architecture_patterns.ipynb) follows what does repeat, the widths and densities. [09 · Lottery ticket](09_lottery_ticket.ipynb) sets the weights back to their start. [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) compares what they reach.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - S. Han, J. Pool, J. Tran, W. J. Dally. Learning both weights and connections for efficient neural networks. NeurIPS 2015. [doi:10.48550/arXiv.1506.02626](https://doi.org/10.48550/arXiv.1506.02626)
# - J. Frankle, G. K. Dziugaite, D. M. Roy, M. Carbin. Linear mode connectivity and the lottery ticket hypothesis. ICML 2020. [doi:10.48550/arXiv.1912.05671](https://doi.org/10.48550/arXiv.1912.05671)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
# - K. Jordan, H. Sedghi, O. Saukh, R. Entezari, B. Neyshabur. REPAIR: renormalizing permuted activations for interpolation repair. 2022. [doi:10.48550/arXiv.2211.08403](https://doi.org/10.48550/arXiv.2211.08403)
