# %% [markdown]
# # 07 · Soft filter pruning
#
# **When filters are zeroed during training but stay free to recover, do they, and what decides it?**

# %% [markdown]
# > **You will be able to** write soft filter pruning as a callback, follow each zeroed filter from epoch to epoch, say from the equations which filters can recover, and judge the recorded study in that light.
# >
# > **You need** [02 · L1-norm](02_l1_norm.ipynb) and the idea of batch normalisation.
# >
# > **Time** about 35 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd
import torch
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import soft_filter_pruning as checks

lab = start(7)

# %% [markdown]
# ## 1. The method, in full
#
# Most pruning is *hard*: what goes never returns. He et al. (2018) prune *softly*. After every epoch the filters of each convolution with the smallest L2-norm are set to zero, and then they go on training like all others. A filter that grows again may stay; another takes its place. Only what is zero after the last epoch is pruned.
#
# A *callback* is code that the training loop calls at fixed moments. Two moments are enough here: the start, and the end of an epoch before the network is tested.
#
# **Predict.** Why zero the filters before the test of an epoch, and not after it?

# %%
class Soft(rl.Callback):
    def on_start(self, state):  # once before training
        self.before_test(state)

    def before_test(self, state):  # the steps of an epoch are done
        for layer in state.model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                weight = layer.weight.detach()  # shares its memory with the parameter
                norms = weight.flatten(1).norm(dim=1)  # L2, one number a filter
                weight[norms.argsort(stable=True)[: len(norms) // 2]] = 0  # half of them go


# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
method, tiny = rl.pruners.SoftFilter(target=0.5), data.subset(320, 100)
toy = rl.build_model("vgg11", width=0.0625)
ours, theirs = (rl.train(toy, tiny, rl.Recipe(epochs=2), callbacks=callbacks, progress=False)
                for callbacks in ([Soft()], method.during(data)))
pairs = zip(ours.model.parameters(), theirs.model.parameters())
print("same weights to the bit:", all(torch.equal(a, b) for a, b in pairs))

# %% [markdown]
# **What you see.** A network trained with the callback above and one trained with the package's own end with the same weights. And because filters are zeroed before the test, each accuracy in the history is that of a network that is pruned already.

# %% [markdown]
# ## 2. Do filters come back?
#
# The callback below only watches. At the end of each epoch it notes which filters have grown, and after the zeroing which of them are zero again. So a filter that was zero has one of three fates an epoch later: it *still is* zero, it has *grown but was zeroed again*, or it *came back*.

# %%
def norms(model):
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    return torch.cat([m.weight.detach().flatten(1).norm(dim=1) for m in layers])


class Watch(rl.Callback):
    def __init__(self, start):
        self.start, self.rows, self.zero = start, [], None

    def before_test(self, state):  # first in the list of callbacks: nothing is zeroed yet
        self.grown = norms(state.model)

    def after_epoch(self, state):
        last, self.zero = self.zero, norms(state.model) == 0
        if last is not None:
            dead, back = last & (self.grown == 0), last & ~self.zero
            self.rows.append({"start": self.start, "epoch": state.epoch + 1,
                              "still_zero": int(dead.sum()), "came_back": int(back.sum()),
                              "zeroed_again": int((last & ~dead & ~back).sum())})


# %% [markdown]
# **Predict.** Half of the filters of each layer are zeroed before the first step, by the size of their random weights. In three epochs of training, which share of them will come back at least once?

# %%
held = data.subset(2000, 300).hold_out(0.1)
recipe, new = rl.Recipe(epochs=3, lr=0.05), rl.build_model("vgg11", width=0.125)
watch = Watch("from new weights")
soft = rl.train(new, held, recipe, callbacks=[watch, *method.during(held)], progress=False)
print(f"zero at the end: {int(watch.zero.sum())} of {len(watch.zero)} filters")
pd.DataFrame(watch.rows).set_index("epoch")

# %% [markdown]
# **What you see.** Not one comes back: all that were zeroed at the start are still zero. So the choice was made before the network had seen an image. The plans of the new and of the trained network show it:

# %%
plan, before = method.fit(soft.model, held), method.fit(new, held)
print("the plan was known before training:", plan.masks == before.masks)

# %% [markdown]
# ## 3. Which filters can recover
#
# A zero filter gives zero everywhere. Batch normalisation divides by $\sqrt{\sigma^2 + \epsilon}$ and adds a learnt shift $\beta$, so the channel is constant at $\beta$. Then comes the ReLU. Where $\beta \le 0$ it gives zero and passes no gradient: a filter that is zeroed before the first step stays zero. (One that is zeroed later can still move by the momentum that it has gathered.) Where $\beta > 0$ a gradient comes through.
#
# **Predict.** Shifts begin at zero. What does that say of a filter that is zeroed before training? And with $\sigma = 0$, will the gradient of a zero filter be small or large?

# %%
def gradient(shift, zero):
    torch.manual_seed(0)
    layer, norm = torch.nn.Conv2d(3, 1, 3, bias=False), torch.nn.BatchNorm2d(1)
    torch.nn.init.constant_(norm.bias, shift)
    layer.weight.data *= 0 if zero else 1
    output = norm(layer(torch.randn(16, 3, 8, 8))).relu()
    (output * torch.randn_like(output)).sum().backward()
    return float(layer.weight.grad.norm())


for shift in (-0.5, 0.0, 0.5):
    print(f"shift {shift:+}: zero filter {gradient(shift, True):9.1f}, "
          f"other filter {gradient(shift, False):6.1f}")

# %% [markdown]
# **What you see.** The zero filter has no gradient at a shift of zero or below. Above, its gradient is many times that of an ordinary filter, because the division by $\sqrt{\epsilon}$ blows it up. It does not grow back, it jumps.

# %% [markdown]
# ## 4. From a trained network
#
# In a network that has been trained, the shifts are no longer zero, and the method can begin there too. The package does so with `pretrained=True`, at a tenth of the learning rate. Here the full rate is used, which gives filters a better chance to grow.
#
# **Predict.** Which of the three fates will be the most frequent one now? And what will become of the accuracy?

# %%
large = rl.train(new, held, recipe, progress=False)
shifts = torch.cat([m.bias for m in large.model.modules()
                    if isinstance(m, torch.nn.BatchNorm2d)])
print(f"shifts above zero after training: {float((shifts > 0).float().mean()):.0%}")
again = Watch("from a trained network")
constant = rl.Recipe(epochs=3, lr=0.05, milestones=())
restless = rl.train(large.model, held, constant, progress=False,
                    callbacks=[again, *method.during(held)])
print(f"accuracy {large.test_accuracy:.1%} before, {restless.test_accuracy:.1%} after")

# %%
rl.figures.recovery(pd.DataFrame(watch.rows + again.rows))

# %% [markdown]
# **What you see.** A little more than half of the zeroed filters never move, the same number in both epochs shown. All others grow at once, by a gradient or by momentum, and a part of them comes back, fewer in the second epoch than in the first. The accuracy falls to guessing: half of each layer is zeroed at the end of every epoch, and other filters take the place of those that the network had learnt with.

# %% [markdown]
# ## 5. Removing what is zero already
#
# The plan holds masks over whole filters. A pruned filter still emits its channel's shift, as in the released code. For comparison, the plainly trained network is cut hard, by the same rule.
#
# **Predict.** By how much does the accuracy on held-out images change in each case?

# %%
hard = method.fit(large.model, held)
for name, result, found in (("soft", soft, plan), ("hard", large, hard)):
    pruned = rl.evaluate(found.apply(result.model), held)[0]
    print(f"{name}: {result.test_accuracy:.1%} after training, {pruned:.1%} after the cut")

# %% [markdown]
# **What you see.** The soft network computes the same before and after: it was tested as pruned all along. The hard cut leaves a network that guesses.
#
# A mask counts a filter as gone in its own layer only. Really removed, it would also take the weights that read it, as in [02 · L1-norm](02_l1_norm.ipynb).

# %%
# NBVAL_CHECK_OUTPUT
narrow = rl.pruners.L1Norm(target=0.5).fit(new, held)
for name, found in (("masked", plan), ("removed", narrow)):
    print(f"{name:8} {found.after.nonzero_params / found.before.params:.1%} of the parameters, "
          f"{found.after.macs / found.before.macs:.1%} of the MACs")

# %% [markdown]
# ## 6. The recorded study
#
# VGG-11 at a ratio of 0.5, with six seeds. The network that is pruned trains softly from new weights, as in section 2. *Fine-tuned* and *LR rewinding* inherit its weights; the latter repeats the whole schedule of learning rates. Scratch-E and Scratch-B draw new weights for the same masks.
#
# **Predict.** The choice of filters is one that random initial weights make. Will inheriting help all the same?

# %%
results = lab.results("soft-filter-vgg11-digits-0.5-classroom")
results

# %%
rl.figures.regimes(results)

# %% [markdown]
# **What you see.** LR rewinding lies above Scratch-E in every seed and is shown to be better; Scratch-B is shown to be better than Fine-tuned. The other two comparisons are not decided.
#
# Section 3 helps to read this. No filter can have recovered in these runs, so what is inherited is the small network itself, after as many epochs as Scratch-E has. LR rewinding adds as many again and ends with about the epochs of Scratch-B, and no difference is shown between these two. What sets the regimes apart here may be no more than the length of training.

# %%
rl.figures.layer_widths(lab.evidence("widths", "soft-filter-vgg11-digits-0.5-classroom"))

# %% [markdown]
# **What you see.** Every layer loses the same share of its filters: the ratio is set by hand, so the architecture is chosen before training as well.

# %% [markdown]
# ## 7. What this does not show
#
# - That zeroed filters are lost in other networks too. Here each convolution is followed by batch normalisation and a ReLU. In a residual network the second convolution of a block is added to the shortcut before the ReLU, and a gradient may pass.
# - What another order would do: zeroing only from the second epoch on, when shifts have moved.
# - That the criterion is bad. Training from the first step without half of the filters is a fair way to train a smaller network.
# - What holds at full length and width. The published study used ResNets and 200 epochs.

# %% [markdown]
# ## 8. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* Which regime of the recorded study comes closest to the unpruned network, by the mean over seeds? Give its name as in `results.regimes`.

# %% exercise="closest" points=1
### BEGIN SOLUTION
means = results.summary()["mean"]
regime = (means.drop("unpruned") - means["unpruned"]).abs().idxmin()
### END SOLUTION

# %% check="closest"
lab.check(checks.closest, regime, results)

# %% [markdown] hint="closest"
# `results.summary()` has a row for each regime. The distance may be upwards or downwards.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* A convolution has 64 filters, reads 32 channels and has 3x3 kernels. Soft filter pruning at a ratio of 0.5 zeroes half of its filters and half of those of the layer before. How many weights has it left, if all that is zeroed is really removed?

# %% exercise="weights_left" points=1
### BEGIN SOLUTION
left = 32 * 16 * 9
### END SOLUTION

# %% check="weights_left"
lab.check(checks.weights_left, left)

# %% [markdown] hint="weights_left"
# Two dimensions of the weight shrink: its filters, and the channels that they read.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write a function that takes a batch normalisation and says which filters of the convolution before it would still get a gradient if they were zeroed now: a boolean tensor, one value a channel. A ReLU follows, and no scale is zero.

# %% exercise="can_recover" points=2
def can_recover(norm):
    ### BEGIN SOLUTION
    return norm.bias > 0
    ### END SOLUTION

# %% check="can_recover"
lab.check(checks.can_recover, can_recover)

# %% [markdown] hint="can_recover"
# Section 3: what does a channel hold whose filter is zero, and when does the ReLU pass a gradient?

# %% [markdown] more="can_recover"
# Count them in a trained network:
#
# ```python
# for name, module in large.model.named_modules():
#     if isinstance(module, torch.nn.BatchNorm2d):
#         print(name, int(can_recover(module).sum()), "of", len(module.bias))
# ```

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* A gentler form lets the ratio rise. Write a function that gives the ratio after epoch `epoch` of `epochs`, counted from 0: it rises in equal steps, the first of them after the first epoch, and reaches `final` after the last.

# %% exercise="rising" points=2
def rising(epoch, epochs, final):
    ### BEGIN SOLUTION
    return final * (epoch + 1) / epochs
    ### END SOLUTION

# %% check="rising"
lab.check(checks.rising, rising)

# %% [markdown] hint="rising"
# There are `epochs` steps, each of the size `final / epochs`. After epoch 0 one of them is done.

# %% [markdown] more="rising"
# As a method, with nothing zeroed before the first epoch:
#
# ```python
# class Gradual(rl.Callback):
#     def before_test(self, state):
#         ratio = rising(state.epoch, state.recipe.epochs, final=0.5)
#         rl.pruners.soft_filter.SoftPruning(ratio).before_test(state)
# ```
#
# Put a `Watch` before it and see whether filters recover.

# %% [markdown]
# ## Recall
#
# 1. At which moments does soft filter pruning set filters to zero?
# 2. Why does the final cut cost no accuracy?
# 3. What does a channel hold after batch normalisation when its filter is zero?
# 4. Why is a filter that is zeroed before training lost in this network?
# 5. Why does a filter that can recover jump instead of growing?

# %% [markdown]
# ## References
#
# - Y. He, G. Kang, X. Dong, Y. Fu, Y. Yang. Soft filter pruning for accelerating deep convolutional neural networks. IJCAI 2018. [doi:10.48550/arXiv.1808.06866](https://doi.org/10.48550/arXiv.1808.06866)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
#
# **Where to go next.** [06 · Sparse structure selection](06_sparse_structure_selection.ipynb) also prunes while it trains. [08 · Weight level](08_weight_level.ipynb) removes single weights and holds them at zero for good.
