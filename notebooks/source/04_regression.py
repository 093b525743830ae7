# %% [markdown]
# # 04 · Regression
#
# **If a pruned layer may have new weights, fitted to the outputs of the old one, is training from scratch still a match?**

# %% [markdown]
# > **You will be able to** choose channels with a LASSO, refit a layer by least squares, tell apart what the choice and the refit bring, correct the errors of earlier layers, and judge refitted networks against trained ones.
# >
# > **You need** [03 · ThiNet](03_thinet.ipynb).
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import torch, rethinklab as rl
from dataclasses import replace
from rethinklab.notebook import start
from rethinklab.notebook.checks import regression as checks
from rethinklab.pruners.reconstruction import layer_error
lab = start(4)

# %% [markdown]
# ## 1. Two steps
#
# He, Zhang and Sun (2017) prune the *input* channels of a convolution so that its outputs $Y$ change as little as possible. $X_c$ holds what the layer reads of channel $c$ at some sampled places, and $W_c$ the weights for it.
#
# 1. **Choose.** Give every channel a coefficient $\beta_c$, and find those that minimise $\frac{1}{2m} \lVert Y - \sum_c \beta_c X_c W_c^\top \rVert^2 + \lambda \sum_c |\beta_c|$, where $m$ is the number of values in $Y$. This is a *LASSO*: its penalty makes some coefficients exactly zero. Raise $\lambda$ until few enough are left.
# 2. **Refit.** Keep those channels, and find *new weights* for them by least squares.

# %% [markdown]
# ThiNet gives each kept channel one factor. Step 2 gives each kept channel and filter nine new weights.

# %% [markdown]
# Here is all of it. *Coordinate descent* improves one coefficient at a time: the best value of $\beta_c$, the others being held, is the one without the penalty, moved towards zero, and zero if it would cross it.
#
# **Predict.** With $\lambda = 0$ the best coefficients can be told without computing. What are they?

# %%
def lasso(gram, cross, strength, beta):
    for _ in range(30):  # sweeps over the channels
        for c in range(len(beta)):
            pull = cross[c] - gram[c] @ beta + gram[c, c] * beta[c]  # without channel c
            beta[c] = pull.sign() * (pull.abs() - strength).clamp(min=0) / gram[c, c]
    return beta


def choose(parts, y, keep):
    gram, cross = parts.T @ parts / len(y), parts.T @ y / len(y)
    beta, strength = torch.ones_like(cross), cross.abs().max() / 100
    while beta.count_nonzero() > keep:
        beta = lasso(gram, cross, strength, beta)
        strength = 1.1 * strength
    return beta.nonzero()[:, 0].tolist()


def refit(patches, outputs, kept):
    return torch.linalg.lstsq(patches[:, kept].flatten(1), outputs).solution


# %% [markdown]
# All ones: the sum of all channels is $Y$ itself. That is where `choose` begins.
#
# ## 2. On a toy, and from Gram matrices
#
# The toy is a convolution with 8 filters and a second one that reads them. `patches` has the shape (samples, channels, 9) and `parts` holds what each channel adds to each sampled output value.

# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
torch.manual_seed(0)
few = rl.pruners.thinet.calibration_images(data, 20, seed=0).double()
first, second = (torch.nn.Conv2d(a, b, 3, padding=1, bias=False).double()
                 for a, b in ((3, 8), (8, 5)))
with torch.no_grad():
    read = torch.nn.functional.unfold(first(few).relu(), 3, padding=1).movedim(1, 2)
read = read.reshape(-1, 8, 9)
patches, fresh = read[torch.randperm(len(read))][:1200].split(600)  # to fit on, to measure on
weight = second.weight.detach().flatten(2)  # (5, 8, 9)
parts = torch.einsum("mck,nck->mnc", patches, weight).reshape(-1, 8)
outputs = patches.flatten(1) @ weight.flatten(1).T
kept = choose(parts, outputs.flatten(), keep=4)
print("parts:", tuple(parts.shape), " outputs:", tuple(outputs.shape))
print("channels kept:", len(kept), " new weights:", tuple(refit(patches, outputs, kept).shape))

# %% [markdown]
# The package needs no samples either. With $P$ the patches as rows, $P^\top P$ and $P^\top Y$ hold all that both steps ask for, and both can be summed up batch by batch.
#
# **Predict.** A layer reads 64 channels through 3x3 kernels. How many rows has $P^\top P$?

# %%
# NBVAL_CHECK_OUTPUT
package = rl.pruners.gram
flat = patches.flatten(1)
patch_gram, patch_cross = flat.T @ flat, flat.T @ outputs
gram, cross = package.block_gram(patch_gram, weight), package.block_cross(patch_cross, weight)
print("same Gram matrix:", torch.allclose(gram, parts.T @ parts))
print("same channels:   ", package.lasso_selection(gram, cross, outputs.numel(), keep=4) == kept)
index = torch.arange(72).view(8, 9)[kept].flatten()  # the features of the kept channels
theirs = package.least_squares_weights(patch_gram[index][:, index], patch_cross[index])
print("same weights:    ", torch.allclose(refit(patches, outputs, kept), theirs, atol=1e-6))

# %% [markdown]
# **What you see.** The package makes the same choice and finds the same weights. It follows the whole path of the LASSO from large to small $\lambda$ instead of trying one strength after the other. For 64 channels the matrix has 576 rows, one for each value of a patch.

# %% [markdown]
# ## 3. The choice or the refit?
#
# Four channels of eight are to stay. Take them by different rules, and measure the error on samples that were not used for fitting: the squared distance from the outputs over the squared outputs, once with the old weights and once refitted.
#
# **Predict.** Which is larger: the gap between a good and a random choice, or the gap between old weights and refitted ones?

# %%
def errors(kept):
    exact = fresh.flatten(1) @ weight.flatten(1).T
    old, new = weight[:, kept].flatten(1).T, refit(patches, outputs, kept)
    return [float((exact - fresh[:, kept].flatten(1) @ w).square().sum() / exact.square().sum())
            for w in (old, new)]


sets = torch.combinations(torch.arange(8), 4).tolist()
every = torch.tensor([errors(each) for each in sets])
gone = package.greedy_removal(gram, remove=4)
rows = {"LASSO": errors(kept), "ThiNet": errors([c for c in range(8) if c not in gone]),
        "mean of all 70": every.mean(0).tolist(), "best of all 70": every.min(0).values.tolist()}
print(f"{'channels':16} old weights  refitted")
for name, (old, new) in rows.items():
    print(f"{name:16} {old:11.3f} {new:9.3f}")

# %% [markdown]
# **What you see.** With old weights the choice counts: LASSO and ThiNet come close to the best set, far below the mean. The refit lowers the error in every row, so much that an average set, refitted, beats even the best set with old weights. And the best set after a refit is much better than the two chosen ones: both rules judge channels by their *old* weights.

# %% [markdown]
# ## 4. A trained network, right after pruning
#
# A slim VGG-11 again, trained for a few seconds and measured on held-out training images. Each method has to leave half of the multiply-adds, with one ratio for all layers, so that all find the same widths.

# %%
held = data.subset(3000, 500).hold_out(0.1)
large = rl.train(rl.build_model("vgg11", width=0.125), held,
                 rl.Recipe(epochs=4, lr=0.05), progress=False)
methods = {"l1": {}, "thinet": {}, "regression": {"images": 300}}
plans = {name: rl.make_pruner(name, "macs:0.5", **options).fit(large.model, held)
         for name, options in methods.items()}
print("widths:", *plans["regression"].kept_widths.values())

# %%
figure = rl.figures.kept(large.model, plans)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** Both methods that look at data let many of the channels go that L1-norm keeps, and keep small ones.
#
# `plan.ticket` takes the channels of a plan and leaves the weights of the large network as they are; `plan.apply` takes the reconstructed ones.
#
# **Predict.** How much of the unpruned network's accuracy is left with all layers pruned, refitted, and not trained at all?

# %%
networks = {name: plan.apply(large.model) for name, plan in plans.items()}
networks["regression, not refitted"] = plans["regression"].ticket(large.model)
accuracy = {name: rl.evaluate(model, held)[0] for name, model in networks.items()}
print(f"{'unpruned':26} {large.test_accuracy:.1%}")
for name, value in accuracy.items():
    print(f"{name:26} {value:.1%}")

# %% [markdown]
# **What you see.** Refitted, the network keeps most of the accuracy without any training. With their old weights the same channels keep far less. ThiNet, with one factor for each channel, lies between.

# %% [markdown]
# ## 5. Making good the errors of earlier layers
#
# Errors add up on the way through a network. The method works from the first layer to the last, and its target $Y$ comes from the *original* network while $X$ comes from the part that is *already pruned*. So each refit also corrects what the layers before it got wrong.
#
# A deeper cut shows it better: 70 % of the filters of every layer. For comparison, refit every layer by itself, in the unpruned network, and put these parts together: *layers apart*.
#
# **Predict.** Draw the error of the layers' outputs, from the first layer to the last, with and without that correction.

# %%
deep = {name: rl.make_pruner(name, 0.7, **methods[name]).fit(large.model, held)
        for name in ("thinet", "regression")}
layers = list(deep["regression"].keep)
single = {layer: rl.pruners.Regression({layer: 0.7}, images=300).fit(large.model, held)
          for layer in layers}
deep["regression, layers apart"] = replace(
    deep["regression"], keep={layer: single[layer].keep[layer] for layer in layers},
    weights={name: value for plan in single.values() for name, value in plan.weights.items()})
pruned = {name: plan.apply(large.model).eval() for name, plan in deep.items()}
for name, model in pruned.items():
    print(f"{name:26} {rl.evaluate(model, held)[0]:.1%}")

# %%
images = next(rl.data.batches.plain_batches(held, held.test))[0][:100]  # held-out images


def lost(name, layer):
    stay = deep[name].keep[layer]  # the channels to compare
    return layer_error(large.model, pruned[name], layer, images, stay)


worse = {name: {layer: lost(name, layer) for layer in layers[1:]} for name in deep}

# %%
figure = rl.figures.layer_errors(worse, layer="Layer, all layers being pruned",
                                 label="Held-out images; no training after the cut.")
print(figure.caption)
figure

# %% [markdown]
# **What you see.** From the third layer on, the error of the layers apart lies well above that of the corrected ones, and the accuracy is lower too. (Each network is measured on the channels that it keeps, so small gaps count for little.) ThiNet, whose factors do not make good the errors of earlier layers, is left with the accuracy of guessing.

# %% [markdown]
# ## 6. After training: the recorded study
#
# Six seeds, as in notebook 03. *Fine-tuned* begins with refitted weights, and so does *LR rewinding*, which repeats the whole schedule of learning rates. These weights are not just inherited: they were solved for, so that the small network computes nearly what the large one does.
#
# **Predict.** Will fine-tuning from such weights beat Scratch-E? And Scratch-B?

# %%
results = lab.results("regression-vgg11-digits-half-classroom")
results

# %%
rl.figures.regimes(results)

# %%
rl.figures.differences(results)

# %% [markdown]
# **What you see.** Even with refitted weights, fine-tuning stays below Scratch-B in every seed, and the verdict is decided. Against Scratch-E it is not decided. LR rewinding is better than Scratch-E, and Scratch-B against it is not decided.

# %% [markdown]
# ## 7. Is the refit worth it after training?
#
# The same large networks were pruned by L1-norm, at the same widths, in another study. The scratch-trained networks are the same in both; what differs is where fine-tuning begins.
#
# **Predict.** By how many points does the refit lead after fine-tuning, and after LR rewinding?

# %%
other = lab.results("l1-vgg11-digits-half-classroom")
for regime in ("scratch-e", "scratch-b"):
    same = results.accuracies(regime).equals(other.accuracies(regime))
    print(f"{regime} is the same: {same}")
other.table()[["regime", "n", "accuracy", "sd"]].set_index("regime")

# %%
family = [(f"Regression ({regime})", "L1-norm", results.accuracies(regime),
           other.accuracies(regime)) for regime in ("finetune", "lr-rewind")]
for verdict in rl.compare_family(family, margin=results.margin):
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** After the short fine-tuning the refit pays: its network is better. After the whole schedule, which trains for as long as the large network did, nothing of that is left: the two are equivalent within the margin. A better start helps where little training follows, and is forgotten where much does.

# %% [markdown]
# ## 8. What this does not show
#
# - What the method costs. The refit needs passes over images and a system of equations for each layer; `results.ledger()` counts the passes.
# - How it does on residual networks, where the paper also corrects the error of the shortcut. The package does that too (see `rl.pruners.Regression`).
# - That the LASSO chooses badly in a trained network. On the toy of section 3 it misses the set that is best after a refit; no trained network was tested for that.
# - What holds for large networks that take weeks to train. There, a network that is nearly as good at once may be all that is wanted.

# %% [markdown]
# ## 9. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* Look at section 4: how many percentage points of accuracy does the refit bring, for the channels that the regression method chose? `accuracy` holds fractions.

# %% exercise="refit_gain" points=1
### BEGIN SOLUTION
gain = 100 * (accuracy["regression"] - accuracy["regression, not refitted"])
### END SOLUTION

# %% check="refit_gain"
lab.check(checks.refit_gain, gain, accuracy)

# %% [markdown] hint="refit_gain"
# Subtract the accuracy of the network whose weights were left as they were. One percentage point is a hundredth.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* One channel stands alone: its entry of the Gram matrix, over $m$, is 4, and its entry of $Z^\top y / m$ is 3, where $Z$ are the `parts`. Which $\beta$ minimises the LASSO's sum with $\lambda = 1$?

# %% exercise="one_channel" points=1
### BEGIN SOLUTION
beta = (3 - 1) / 4
### END SOLUTION

# %% check="one_channel"
lab.check(checks.one_channel, beta)

# %% [markdown] hint="one_channel"
# For $\beta > 0$ the sum is $2\beta^2 - 3\beta + \lambda\beta$, apart from a constant. Set its derivative to zero.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write the refit from $P^\top P$ and $P^\top Y$. Features stand in the order (channel, kernel position), `taps` positions for each channel. The answer has a row for each feature of the kept channels, in their order, and a column for each output.

# %% exercise="refit_from_grams" points=2
def refit_from_grams(patch_gram, patch_cross, kept, taps):
    ### BEGIN SOLUTION
    index = torch.arange(len(patch_gram)).view(-1, taps)[kept].flatten()
    return torch.linalg.solve(patch_gram[index][:, index], patch_cross[index])
    ### END SOLUTION

# %% check="refit_from_grams"
lab.check(checks.refit_from_grams, refit_from_grams)

# %% [markdown] hint="refit_from_grams"
# Channel $c$ has the features `c * taps` to `c * taps + taps - 1`. Cut those rows and columns out of the matrix first, then solve.

# %% [markdown]
# **Exercise 4.** *Hard, 20 minutes.* Solve the LASSO in another way: *proximal gradient*. Begin with zeros. Take a step of size 1 / (largest eigenvalue of `gram`) against the gradient of the quadratic part, then move every coefficient towards zero by the step size times `strength`, no further than zero. Repeat. `gram` and `cross` are already divided by $m$.

# %% exercise="proximal" points=3
def proximal(gram, cross, strength, steps=1000):
    ### BEGIN SOLUTION
    size = 1 / torch.linalg.eigvalsh(gram)[-1]
    beta = torch.zeros_like(cross)
    for _ in range(steps):
        moved = beta - size * (gram @ beta - cross)
        beta = moved.sign() * (moved.abs() - size * strength).clamp(min=0)
    return beta
    ### END SOLUTION

# %% check="proximal"
lab.check(checks.proximal, proximal)

# %% [markdown] hint="proximal"
# The gradient is `gram @ beta - cross`. The move towards zero is the same for all: `x.sign() * (x.abs() - a).clamp(min=0)`.

# %% [markdown] more="proximal"
# Compare it with coordinate descent on the toy:
#
# ```python
# m = outputs.numel()
# slow = proximal(gram / m, cross / m, 0.001)
# print(torch.allclose(slow, lasso(gram / m, cross / m, 0.001, torch.ones(8).double()), atol=1e-3))
# ```

# %% [markdown]
# ## Recall
#
# 1. Which property of the LASSO's penalty makes it a rule of choice?
# 2. How many numbers does ThiNet adjust for a kept channel, and how many does the refit?
# 3. Why does the target come from the original network and the input from the pruned one?
# 4. Why are errors measured on samples that were not used for fitting?
# 5. Refitted weights compute nearly what the large network does. Why may a network with new weights still end higher?

# %% [markdown]
# ## Where to go next
#
# [05 · Network slimming](05_network_slimming.ipynb) leaves the choice of widths to training, so that the architecture itself is found. [07 · Soft filter pruning](07_soft_filter_pruning.ipynb) prunes while training goes on. [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) puts all methods side by side.

# %% [markdown]
# ## References
#
# - Y. He, X. Zhang, J. Sun. Channel pruning for accelerating very deep neural networks. ICCV 2017. [doi:10.48550/arXiv.1707.06168](https://doi.org/10.48550/arXiv.1707.06168)
# - J.-H. Luo, J. Wu, W. Lin. ThiNet: a filter level pruning method for deep neural network compression. ICCV 2017. [doi:10.48550/arXiv.1707.06342](https://doi.org/10.48550/arXiv.1707.06342)
# - R. Tibshirani. Regression shrinkage and selection via the lasso. Journal of the Royal Statistical Society B 58 (1996). [doi:10.1111/j.2517-6161.1996.tb02080.x](https://doi.org/10.1111/j.2517-6161.1996.tb02080.x)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
