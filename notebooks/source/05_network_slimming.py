# %% [markdown]
# # 05 · Network slimming
#
# **Can a network be trained so that it says itself which channels it can do without, and how wide each layer should be?**

# %% [markdown]
# > **You will be able to** write the sparsity penalty and the global threshold, see what the penalty does to a network, tell an architecture that is found from one that is given, prune layers that share their channels, and judge the architecture that was found.
# >
# > **You need** [02 · L1-norm](02_l1_norm.ipynb), and an idea of batch normalisation and gradients.
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd, torch, rethinklab as rl
from rethinklab.analysis.weights import bin_edges, histogram
from rethinklab.results.efficiency import efficiency_tables
from rethinklab.notebook import start
from rethinklab.notebook.checks import network_slimming as checks
lab = start(5)

# %% [markdown]
# ## 1. Penalty and threshold, in full
#
# Batch normalisation brings each channel to mean 0 and variance 1, and then multiplies it by a learnt **scale** $\gamma$. A channel with a scale near zero passes little on, whatever its filter's weights are.
#
# Liu et al. (2017) add $s \sum |\gamma|$ to the loss. It has no gradient at $\gamma = 0$, so they use a *sub-gradient*: $s \cdot \mathrm{sign}(\gamma)$. After training, one threshold for *all* layers separates the channels that stay from those that go.
#
# **Predict.** Two scales are 0.9 and 0.01. Which of them does the penalty push harder?

# %%
def norms(model):
    kinds = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def scales(model):
    return {name: norm.weight.detach().abs() for name, norm in norms(model).items()}


def push(model, strength):  # after the backward pass, before the optimiser's step
    for norm in norms(model).values():
        norm.weight.grad += strength * norm.weight.detach().sign()


def survivors(scales, share):  # share: of all channels, to remove
    together = torch.cat(list(scales.values())).sort().values
    threshold = together[int(share * len(together))]
    return {name: (own > threshold).nonzero().flatten().tolist() for name, own in scales.items()}

# %% [markdown]
# A toy network, whose second layer has the larger scales, compares these lines with the package.

# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
first, second = torch.nn.BatchNorm2d(6), torch.nn.BatchNorm2d(8)
first.weight.data, second.weight.data = torch.linspace(-0.6, 0.5, 6), torch.linspace(0.3, 1.0, 8)
toy = torch.nn.Sequential(torch.nn.Conv2d(3, 6, 3), first, torch.nn.ReLU(),
                          torch.nn.Conv2d(6, 8, 3), second, torch.nn.ReLU(),
                          torch.nn.Flatten(), torch.nn.Linear(8 * 28 * 28, 10))
toy(torch.randn(8, *data.input_shape)).square().sum().backward()
loss_alone = second.weight.grad.clone()
push(toy, 0.01)
ours, second.weight.grad = second.weight.grad, loss_alone
penalty = rl.pruners.slimming.SparsityPenalty(0.01)
penalty.prepare(toy)
penalty.after_backward(None)
print("same gradient:", torch.equal(second.weight.grad, ours))
kept = survivors(scales(toy), 0.5)
theirs = rl.pruners.Slimming(0.5).fit(toy, data).keep
print("same channels:", [tuple(own) for own in kept.values()] == list(theirs.values()))
print("channels left:", {name: len(own) for name, own in kept.items()})

# %% [markdown]
# **What you see.** Both agree. The push is the same for a large scale and a small one, so the loss alone decides which scales hold out against it. And one threshold for all channels does not cut each layer by the same share: the layer with the small scales lost more.

# %% [markdown]
# ## 2. What the penalty does
#
# The same slim VGG-11 is trained twice for a few seconds: once as usual, once with the penalty. It is measured on training images that were held out. The published strength suits a long training; a short one needs a stronger push (exercise 2).
#
# **Predict.** Draw the histogram of the scales of both networks. Where will the penalty put them, and will there be a gap between small and large ones?

# %%
held = data.subset(3000, 500).hold_out(0.1)
recipe = rl.Recipe(epochs=4, lr=0.05)
network = rl.build_model("vgg11", width=0.125)
slim = rl.pruners.Slimming("macs:0.5", strength=0.01, minimum=1)
plain = rl.train(network, held, recipe, progress=False)
sparse = rl.train(network, held, recipe, callbacks=slim.during(held), progress=False)
for name, trained in (("without penalty", plain), ("with penalty", sparse)):
    own = torch.cat(list(scales(trained.model).values()))
    print(f"{name:15} {trained.test_accuracy:.1%} held-out accuracy, median scale "
          f"{own.median():.2f}, {(own < 0.05).float().mean():.0%} of scales below 0.05")

# %%
def histograms(model):
    values = scales(model)
    values = {"all": torch.cat(list(values.values())), **values}
    edges = bin_edges(max(float(values["all"].max()), 1.0), 40, symmetric=False)
    return pd.concat([histogram(own, edges).assign(layer=name, place=place)
                      for place, (name, own) in enumerate(values.items())])


frame = pd.concat([histograms(plain.model).assign(network="unpruned"),
                   histograms(sparse.model).assign(network="pruned_from")])
rl.figures.scales(frame)

# %% [markdown]
# **What you see.** The penalty moves the scales of every layer towards zero, at little cost in accuracy. But after so short a training there is no gap: small scales and large ones shade into each other. The linear layer began with larger scales and still has them.

# %% [markdown]
# ## 3. One threshold, and the widths that it gives
#
# With L1-norm in notebook 02 somebody chose the ratio of each layer: the architecture is *predefined*. Here only the total is chosen. How it falls on the layers comes out of the training: the method is *automatic*, and the architecture is *found*.
#
# The total may be a share of channels or, as here, half of the multiply-adds; `minimum=1` keeps a channel in every layer.
#
# **Predict.** Which layers will lose the largest share?

# %%
plan = slim.fit(sparse.model, held)
print(f"MACs left: {plan.after.macs / plan.before.macs:.1%}, "
      f"parameters left: {plan.after.params / plan.before.params:.1%}")
rl.figures.widths(plan)

# %% [markdown]
# **What you see.** The linear layer, whose scales are the largest, keeps all its channels, and each convolution gives up some. The shares of the convolutions hardly differ yet: it takes a longer training to find a pattern (section 6).

# %% [markdown]
# The penalty costs accuracy while the network trains. It should pay when the channels go: what is small already can be cut with less harm.
#
# **Predict.** Both networks are cut to half of their multiply-adds, each at a threshold of its own. Which is more accurate right after the cut, before any fine-tuning?

# %%
for name, trained in (("without penalty", plain), ("with penalty", sparse)):
    cut = slim.fit(trained.model, held).apply(trained.model)
    print(f"{name:15} {trained.test_accuracy:.1%} before the cut, "
          f"{rl.evaluate(cut, held)[0]:.1%} after it")

# %% [markdown]
# **What you see.** The cut costs both networks much. The penalised network was the less accurate one before it and is the more accurate one after it: its small scales carried less. This is one pair of networks; the recorded study has six.

# %% [markdown]
# ## 4. Too strong a penalty
#
# The penalised network goes on for one epoch, at ten times the strength.
#
# **Predict.** What becomes of the scales, and what of the accuracy? What could a threshold still tell apart?

# %%
hard = rl.pruners.Slimming("macs:0.5", strength=0.1, minimum=1)
ruined = rl.train(sparse.model, held, rl.Recipe(epochs=1, lr=0.05),
                  callbacks=hard.during(held), progress=False)
own = torch.cat(list(scales(ruined.model).values()))
print(f"held-out accuracy {ruined.test_accuracy:.1%}, guessing gives {1 / data.num_classes:.0%}")
print(f"largest scale {own.max():.3f}, median {own.median():.4f}, exact zeros {(own == 0).sum()}")

# %% [markdown]
# **What you see.** The scales collapse and the network guesses. Yet no scale is exactly zero: a sub-gradient pushes by a fixed amount, so a scale near zero is pushed past it and back again.

# %% [markdown]
# A network that guesses has no scales worth comparing, and its threshold can empty a whole layer, which cuts the network in two. `Slimming` then refuses, unless `minimum` keeps a channel or `masked` holds the channels at zero in place.

# %% [markdown]
# ## 5. Where channels are shared
#
# In a residual network a branch adds its output to a *stream* that later blocks read too. A channel of the stream cannot go because one block has no use for it. In a pre-activation network each block normalises the stream before it reads it, so these scales say what *this block* can do without. The stream keeps its width, and the block reads it through a **channel selection**.
#
# An untrained network shows the form. Its scales are set so that each layer loses half.
#
# **Predict.** In a block of three convolutions, which of them become narrower at the input, which at the output?

# %%
# NBVAL_CHECK_OUTPUT
residual = rl.build_model("preresnet20", width=0.25)
thin = rl.pruners.Slimming(0.5).rehearse(residual, data)
small = thin.apply(residual).eval()
for name in ("conv1", "conv2", "conv3"):
    before, after = (getattr(net.stages[1][1], name) for net in (residual, small))
    print(f"{name}: {before.in_channels} -> {before.out_channels} channels, "
          f"then {after.in_channels} -> {after.out_channels} ({type(after).__name__})")
print("conv1 reads of the stream:", thin.read["stages.1.1.conv1"])
images = torch.randn(8, *data.input_shape)
same = torch.allclose(thin.silence(residual).eval()(images), small(images), atol=1e-5)
print("same as setting the channels to zero:", same)

# %% [markdown]
# **What you see.** The first convolution reads a selection of the stream, the two inner widths shrink, and the last convolution still gives the whole stream. Networks with dense connections are pruned in the same way: every layer but the first reads a selection, and none gives fewer channels.

# %% [markdown]
# ## 6. The recorded study
#
# VGG-11 with half of its multiply-adds left, six paired seeds, twenty epochs. The unpruned network is trained without the penalty; what is pruned is a second network, trained with it.

# %%
study = "slimming-vgg11-digits-half-classroom"
results = lab.results(study)
rl.figures.scales(lab.evidence("scales", study))

# %% [markdown]
# **What you see.** After twenty epochs, with a weaker penalty, a gap begins to open. In most layers a spike next to zero now stands apart from the other scales.

# %% [markdown]
# **Predict.** The six seeds choose their widths apart from each other. Will they find the same architecture?

# %%
rl.figures.layer_widths(lab.evidence("widths", study))

# %% [markdown]
# **What you see.** All seeds agree on the outline: the first four convolutions keep about four fifths, the last convolutions keep the smallest share, and the linear layer loses nothing. They do not agree on the numbers, least of all in the later convolutions.

# %% [markdown]
# **Predict.** LR rewinding keeps the weights and repeats the whole schedule of learning rates. Fine-tuning keeps them and trains for a quarter of it at the lowest rate. Scratch-E and Scratch-B have new weights. Put the four in order.

# %%
rl.figures.regimes(results)

# %%
print(results.table().to_string(index=False), end="\n\n")
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** LR rewinding is highest on average, above the unpruned network, and Scratch-E is lowest. Of the four comparisons only one is decided: Scratch-E is worse than LR rewinding, which trains for as many epochs. Scratch-B against either, and Scratch-E against fine-tuning, are not decided with six pairs.

# %% [markdown]
# ## 7. Is the value in the architecture that was found?
#
# Where an architecture is found, Liu et al. (2019) ask a further question. If the network does well from new weights, is that because of its widths, or would any network of its size do? The control is a *uniform* design: every layer keeps the same share, with as many parameters. *Guided* and *transferred* designs take averages over layers from this or another pruned network ([notebook 12](12_architecture_patterns.ipynb)).
#
# These studies were recorded on a VGG-16 for twelve epochs, with the penalty of section 2. These results are always read from the record, never computed here.
#
# **Predict.** Which design comes out on top: found or uniform?

# %%
designs = {design: rl.load_results(lab.root / "data" / "results" / f"{design}-quick")
           for design in (f"{kind}vgg16-digits-0.6-12-epochs" for kind in
                          ("slimming-", "uniform-slimming-", "guided-slimming-", "transferred-"))}
found, uniform, *others = designs.values()
table = next(iter(efficiency_tables(list(designs.values())).values()))
rl.figures.efficiency(table)

# %%
print(found.against(uniform, "scratch-e"))

# %% [markdown]
# **What you see.** The found architecture has the lowest mean of the four. By the t test the uniform design with as many parameters is better; three pairs are too few for the exact test to say so at all. Equal parameters are not equal work either: the uniform design has more MACs, the transferred one many more. Nothing here says that what slimming found is worth more than its size.

# %% [markdown]
# ## 8. What this does not show
#
# - That slimming finds poor architectures. In section 7 the penalty was strong and the training short; three seeds of one network on one data set, at one target.
# - That found architectures are worth nothing. Designs with equal parameters differ in their MACs, and the guided and the transferred ones were made from pruned networks.
# - That the weights do not matter. In section 6 the regimes differ in their learning rates and in their epochs, not only in where they start.
# - What the choice of the strength costs. It was looked at with other seeds before the study; a method with one more setting to choose has had one more chance to look good.

# %% [markdown]
# ## 9. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* Of which layer does `plan` keep the smallest share of the channels? `plan.widths` and `plan.kept_widths` give the widths before and after by layer.

# %% exercise="smallest_share" points=1
### BEGIN SOLUTION
shares = {name: kept / plan.widths[name] for name, kept in plan.kept_widths.items()}
layer = min(shares, key=shares.get)
### END SOLUTION

# %% check="smallest_share"
lab.check(checks.smallest_share, layer, plan)

# %% [markdown] hint="smallest_share"
# A share is a ratio: what is kept over the width before. The layer with the fewest channels may have been narrow all along.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* How far can the penalty alone have moved a scale in the training of section 2? Each step moves a scale by the learning rate times the strength, 0.01. An epoch has `steps` steps, and `rates` holds the learning rates of the epochs. With a momentum of 0.9, each push goes on acting: 1 + 0.9 + 0.9² and so on, ten times as much in the end.

# %% exercise="reach" points=2
steps = -(-len(held.train) // recipe.batch_size)
rates = list(sparse.history["lr"])
### BEGIN SOLUTION
distance = 0.01 * steps * sum(rates) / (1 - recipe.momentum)
### END SOLUTION

# %% check="reach"
lab.check(checks.reach, distance, 0.01, rates, steps)

# %% [markdown] hint="reach"
# Sum the learning rates over all steps, not only over epochs. The scales began at 0.5: compare.

# %% [markdown] more="reach"
# This is why a strength belongs to a length of training: with ten times the steps, a tenth of the strength reaches as far.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* The control for the global threshold: write `survivors` with a threshold for each layer, so that every layer loses the same share. `scales` is a dictionary of tensors, which may hold negative values here. In each layer the entry `int(share * channels)` of the sorted magnitudes is the threshold, and only larger ones stay.

# %% exercise="each_layer" points=2
def layer_survivors(scales, share):
    ### BEGIN SOLUTION
    kept = {}
    for name, own in scales.items():
        threshold = own.abs().sort().values[int(share * len(own))]
        kept[name] = (own.abs() > threshold).nonzero().flatten().tolist()
    return kept
    ### END SOLUTION

# %% check="each_layer"
lab.check(checks.each_layer, layer_survivors)

# %% [markdown] hint="each_layer"
# Move the two lines that sort and pick the threshold into the loop over layers.

# %% [markdown]
# **Exercise 4.** *Hard, 20 minutes.* The penalty does not know that a channel on a large map costs more than one on a small map. Write a penalty that pushes the scales of each layer by the strength times a weight of that layer. `self.scales` lists the scales of the layers, each a parameter with a gradient, and `self.weights` one number for each.

# %% exercise="cost_aware" points=3
class CostAware(rl.pruners.slimming.SparsityPenalty):
    weights = ()

    def after_backward(self, state):
        ### BEGIN SOLUTION
        with torch.no_grad():
            for scale, weight in zip(self.scales, self.weights):
                scale.grad += self.strength * weight * scale.sign()
        ### END SOLUTION

# %% check="cost_aware"
lab.check(checks.cost_aware, CostAware)

# %% [markdown] hint="cost_aware"
# `push` in section 1 has the plain form. Go through scales and weights together with `zip`, inside `torch.no_grad()`.

# %% [markdown] more="cost_aware"
# Weights whose mean is 1 leave the total push as it was:
#
# ```python
# penalty = CostAware(0.01)
# penalty.weights = [1.5, 1.5, 1.3, 1.3, 1, 1, 0.5, 0.5, 0.4]
# aware = rl.train(network, held, recipe, callbacks=[penalty], progress=False)
# print(slim.fit(aware.model, held).kept_widths)
# ```

# %% [markdown]
# ## Recall
#
# 1. What is a sub-gradient, and why does the penalty need one?
# 2. Why does a small scale say that a channel can go, when a small filter need not?
# 3. What is chosen by hand in an automatic method, and what is found?
# 4. Why does a residual stream keep its width, and what shrinks instead?
# 5. Why must the strength fit the length of the training?
# 6. Which control tells the value of a found architecture from the value of its size?

# %% [markdown]
# ## References
#
# - Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang. Learning efficient convolutional networks through network slimming. ICCV 2017. [doi:10.48550/arXiv.1708.06519](https://doi.org/10.48550/arXiv.1708.06519)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - S. Ioffe, C. Szegedy. Batch normalization: accelerating deep network training by reducing internal covariate shift. ICML 2015. [doi:10.48550/arXiv.1502.03167](https://doi.org/10.48550/arXiv.1502.03167)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
#
# **Where to go next.** [06 · Sparse structure selection](06_sparse_structure_selection.ipynb) drives scales to exactly zero, which the sub-gradient does not. [12 · Architecture patterns](12_architecture_patterns.ipynb) turns found widths into designs.
