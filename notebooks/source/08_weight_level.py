# %% [markdown]
# # 08 · Weight level
#
# **What is left when the smallest weights go one by one, and is it the surviving weights or their places that count?**

# %% [markdown]
# > **You will be able to** prune single weights by one global threshold, hold the rest at zero through training, measure what the cut does to the time that an image takes, and tell a fine-tuned network from a scratch-trained one by its histogram.
# >
# > **You need** [02 · L1-norm](02_l1_norm.ipynb) and a rough idea of momentum.
# >
# > **Time** about 35 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import torch
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import weight_level as checks

lab = start(8)

# %% [markdown]
# ## 1. The method, in full
#
# Han et al. (2015) remove single weights rather than filters: those of smallest magnitude. This is called *unstructured* pruning. In the form that Liu et al. (2019) study, one threshold serves all convolutions of the network, so that layers may lose different shares. What stays is written down as a *mask*: True where a weight lives.
#
# **Predict.** Two convolutions have the same number of weights, but those of the second are ten times smaller. Half of all weights go. Which?

# %%
# NBVAL_CHECK_OUTPUT
def largest(model, share):
    weights = {f"{name}.weight": module.weight.detach() for name, module
               in model.named_modules() if isinstance(module, torch.nn.Conv2d)}
    together = torch.cat([weight.abs().flatten() for weight in weights.values()])
    threshold = together.sort().values[int(len(together) * share)]  # one for all layers
    return {name: weight.abs() > threshold for name, weight in weights.items()}


data = rl.load_data("digits")
torch.manual_seed(0)
toy = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), torch.nn.ReLU(), torch.nn.Conv2d(6, 3, 3))
toy[2].weight.data /= 10
masks, theirs = largest(toy, 0.5), rl.pruners.WeightLevel(target=0.5).fit(toy, data).masks
print("same masks:", all(torch.equal(masks[name], theirs[name]) for name in theirs))
for name, mask in masks.items():
    print(f"{name}: {int(mask.sum())} of {mask.numel()} live")

# %% [markdown]
# **What you see.** The function and the package agree to the weight. The layer with small weights loses nearly all: a global threshold assumes that magnitudes of different layers can be compared.

# %% [markdown]
# ## 2. Zeros must be held
#
# The pruned network trains on, and its zeros must stay. Two things move them. One is the gradient, so it is multiplied by the mask. The other is *momentum*: the optimiser steps along a running sum of earlier gradients, to which weight decay adds its part.
#
# The function below prunes one convolution halfway through ten steps.
#
# **Predict.** Nothing held; gradients masked; gradients masked and a new optimiser: in which case do the pruned weights stay zero?

# %%
# NBVAL_CHECK_OUTPUT
def moved(mask_gradients, new_optimiser):
    torch.manual_seed(0)
    layer, images = torch.nn.Conv2d(3, 8, 3), torch.randn(16, 3, 8, 8)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
    optimiser, mask = torch.optim.SGD(layer.parameters(), **settings), 1
    for step in range(10):
        if step == 5:
            mask = layer.weight.detach().abs() > layer.weight.detach().abs().median()
            layer.weight.data *= mask
            if new_optimiser:
                optimiser = torch.optim.SGD(layer.parameters(), **settings)
        optimiser.zero_grad()
        layer(images).square().mean().backward()
        if mask_gradients:
            layer.weight.grad *= mask
        optimiser.step()
    return f"{int((layer.weight[~mask] != 0).sum())} of {int((~mask).sum())} have moved"


print("nothing held:                  ", moved(False, False))
print("gradients masked:              ", moved(True, False))
print("gradients masked, new momentum:", moved(True, True))

# %% [markdown]
# **What you see.** Masking the gradient is not enough while the momentum remembers the time before the cut. With a new one the zeros stay: a masked weight has no gradient, no momentum and nothing to decay. The package masks gradients, begins with a new optimiser, and sets masked weights back after each step as well. `plan.callbacks()` gives the callback that does it.

# %% [markdown]
# ## 3. Which weights go
#
# Now a network that has learnt something, measured on training images that were held out.

# %%
held = data.subset(3000, 500).hold_out(0.1)
recipe = rl.Recipe(epochs=4, lr=0.05)
large = rl.train(rl.build_model("vgg11", width=0.125), held, recipe, progress=False)
print(f"unpruned: {large.test_accuracy:.1%} of {len(held.test)} held-out images")

# %% [markdown]
# **Predict.** How large a share of the weights can go before the accuracy falls by half, with no training after the cut?

# %%
for share in (0.3, 0.5, 0.7, 0.8, 0.9):
    cut = rl.pruners.WeightLevel(share).fit(large.model, held)
    print(f"{share:.0%} removed: {rl.evaluate(cut.apply(large.model), held)[0]:.1%}")

# %% [markdown]
# **What you see.** 30 % of the weights can go at a small cost; half of them cost several points. Between 50 % and 70 % the accuracy falls by more than half, and at 80 % the network does little better than guessing.
#
# Every layer keeps a share of its own, its *density*. Beside it stands the density that the same threshold rule gives the network *before* training.
#
# **Predict.** Which layers keep most: early or late ones? And how far will the two columns differ?

# %%
plan = rl.pruners.WeightLevel(target=0.8).fit(large.model, held)
untrained = rl.pruners.WeightLevel(target=0.8).fit(rl.build_model("vgg11", width=0.125), held)
print("layer               weights  trained  untrained")
for name, mask in plan.masks.items():
    print(f"{name:18} {mask.numel():8,} {plan.densities[name]:8.0%} "
          f"{untrained.densities[name]:10.0%}")

# %% [markdown]
# **What you see.** The early, small layers keep most of their weights and the late, large ones few, and the untrained network has nearly the same densities. Initial weights are drawn smaller in wide layers, and one threshold for all turns that into an architecture.

# %% [markdown]
# ## 4. What an image costs now
#
# **Predict.** The MACs below count living weights only. How long does the masked network take for an image, compared with the unpruned one, and with a network of about as few MACs that is really narrower?

# %%
models = {"unpruned": large.model, "masked": plan.apply(large.model),
          "narrow": rl.pruners.L1Norm("macs:0.33").fit(large.model, held).apply(large.model)}
costs = [{name: rl.profile(model, held.input_shape, count="nonzero")
          for name, model in models.items()} for _ in range(6)]  # six times, in turns
for name in models:
    cost, fastest = costs[0][name], min(turn[name].latency for turn in costs)
    print(f"{name:8} {cost.params:8,} values stored, {cost.macs / 1e6:.2f}M MACs, "
          f"{fastest:.2f} ms an image")

# %% [markdown]
# **What you see.** The masked network has a third of the MACs on paper, stores as many values as before, and takes as long: a convolution multiplies by zeros like by any other number. The narrow network, with as few MACs, is faster.

# %% [markdown]
# ## 5. The recorded study
#
# VGG-11 with 80 % of its weights removed, six seeds. *LR rewinding* keeps the inherited weights and repeats the whole schedule of learning rates; *Fine-tuned* has a quarter of the epochs at the last rate. The scratch regimes draw new weights for the same masks, with the wider spread that a sparse layer calls for.
#
# **Predict.** Order the four by accuracy: two that inherit weights, two that do not.

# %%
results = lab.results("weight-level-vgg11-digits-0.8-classroom")
results.table().set_index("regime")

# %%
rl.figures.regimes(results)

# %%
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** LR rewinding lies above Scratch-E in every seed and is shown to be better. Against Scratch-B, which spends as much computation as the large network, no difference is shown. Scratch-B is shown to be better than Fine-tuned; Scratch-E against Fine-tuned is not decided. What inherited weights seem to be worth depends on how long either side trains.

# %% [markdown]
# ## 6. What training leaves in the histogram
#
# The cut leaves no weight near zero but those that are masked.
#
# **Predict.** Each regime trains on from some weights. In which of them will there be living weights near zero at the end?

# %%
rl.figures.weights(lab.evidence("weights", "weight-level-vgg11-digits-0.8-classroom"))

# %% [markdown]
# **What you see.** Fine-tuned keeps a gap: at the lowest rate no living weight comes near zero. LR rewinding has trained at the large rate, and its gap is a valley. In the scratch regimes weights near zero are the most frequent ones. By the values alone one can tell which network inherited.

# %% [markdown]
# ## 7. Are the places found, or drawn?
#
# A mask is also an architecture: which places of each kernel stay. First the average kernel, by the size of the map that it works on.
#
# **Predict.** On a map of 2 x 2 pixels, with zeros padded around it, which of the nine places of a kernel see an image most often?

# %%
rl.figures.kernels(lab.evidence("kernels", "weight-level-vgg11-digits-0.8-classroom"))

# %% [markdown]
# **What you see.** On the smallest maps the centre is kept more often than the corners, which mostly read padding there. At 8 x 8 pixels the places hardly differ. The two largest sizes belong to one small layer each.
#
# Now the single weights. Two seeds begin with different ones. If pruning found places that the task needs, their masks would agree by more than chance.
#
# **Predict.** By how much more?

# %%
rl.figures.overlap(lab.evidence("overlap", "weight-level-vgg11-digits-0.8-classroom"))

# %% [markdown]
# **What you see.** In every layer two seeds keep hardly more in common than chance gives. How many weights a layer keeps is stable from seed to seed; which ones is a matter of the draw.

# %% [markdown]
# ## 8. What this does not show
#
# - That no machine gains by single zeros. Sparse kernels and special hardware exist; ordinary dense ones multiply by zero all the same.
# - That a filter's number means the same in two seeds. Networks that compute the same in another order of channels would count as different in section 7.
# - Which part of LR rewinding's accuracy is owed to the weights and which to a training twice as long in all: [13 · Fair budgets](13_fair_budgets.ipynb).
# - What holds for deep networks, long training, or data beyond these digits.

# %% [markdown]
# ## 9. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* By how many percentage points does the best regime that inherits trained weights lead the *unpruned* network in the recorded study, on average over seeds?

# %% exercise="lead" points=1
### BEGIN SOLUTION
means = results.summary()["mean"]
lead = max(means["finetune"], means["lr-rewind"]) - means["unpruned"]
### END SOLUTION

# %% check="lead"
lab.check(checks.lead, lead, results, over="unpruned")

# %% [markdown] hint="lead"
# Fine-tuned and LR rewinding inherit. `results.summary()["mean"]` has the means in percent.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* A layer has 1,000,000 weights of 4 bytes each, and 20 % of them live. Stored sparsely, each living weight needs its value and an index of 2 bytes. How many bytes is that?

# %% exercise="stored_bytes" points=1
### BEGIN SOLUTION
stored = 200_000 * (4 + 2)
### END SOLUTION

# %% check="stored_bytes"
lab.check(checks.stored_bytes, stored)

# %% [markdown] hint="stored_bytes"
# Dead weights are not stored at all. Living ones need two entries each.

# %% [markdown] more="stored_bytes"
# At which density does the sparse form stop saving anything? Where density × 6 bytes is 4 bytes: at two thirds.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write the layer-by-layer form: each layer loses the share `share` of its own weights, the smallest in magnitude. The function takes weights by name, and gives boolean masks by name.

# %% exercise="layer_by_layer" points=2
def layer_by_layer(weights, share):
    ### BEGIN SOLUTION
    masks = {}
    for name, weight in weights.items():
        sizes = weight.abs().flatten().sort().values
        masks[name] = weight.abs() >= sizes[int(len(sizes) * share)]
    return masks
    ### END SOLUTION

# %% check="layer_by_layer"
lab.check(checks.layer_by_layer, layer_by_layer)

# %% [markdown] hint="layer_by_layer"
# As `largest` in section 1, but with a threshold inside the loop.

# %% [markdown] more="layer_by_layer"
# Compare the two on the trained network. Which destroys less?
#
# ```python
# weights = {name: large.model.get_parameter(name).detach() for name in plan.masks}
# for masks in (plan.masks, layer_by_layer(weights, 0.8)):
#     state = large.model.state_dict() | {n: weights[n] * masks[n] for n in masks}
#     model = rl.build_model("vgg11", width=0.125)
#     model.load_state_dict(state)
#     print(rl.evaluate(model, held)[0])
# ```

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* Section 6 as a number: write a function that gives the share of the *living* weights whose magnitude is below `limit`. A living weight may be exactly zero.

# %% exercise="near_zero" points=2
def near_zero(weight, mask, limit):
    ### BEGIN SOLUTION
    return (weight[mask].abs() < limit).float().mean()
    ### END SOLUTION

# %% check="near_zero"
lab.check(checks.near_zero, near_zero)

# %% [markdown] hint="near_zero"
# `weight[mask]` are the living weights. The mean of a boolean tensor, as float, is a share.

# %% [markdown]
# ## Recall
#
# 1. Why can layers end with different densities under one threshold?
# 2. What moves a pruned weight although its gradient is masked?
# 3. Why does a masked network take as long as the unpruned one?
# 4. What in a histogram gives away that a network was pruned and fine-tuned?
# 5. What agreement of two masks is to be expected of chance?

# %% [markdown]
# ## References
#
# - S. Han, J. Pool, J. Tran, W. J. Dally. Learning both weights and connections for efficient neural networks. NeurIPS 2015. [doi:10.48550/arXiv.1506.02626](https://doi.org/10.48550/arXiv.1506.02626)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
#
# **Where to go next.** [09 · Lottery ticket](09_lottery_ticket.ipynb) sets the surviving weights back to where they began. [11 · Weight distributions](11_weight_distributions.ipynb) looks at more histograms.
