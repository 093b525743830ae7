# %% [markdown]
# # 03 · ThiNet
#
# **Does it pay to look at the data, and not at the weights alone, when choosing the filters that go?**

# %% [markdown]
# > **You will be able to** split a layer's output into what each channel adds, choose by greedy removal the channels that the next layer misses least, rescale the others by least squares, and say what such a choice is worth after training.
# >
# > **You need** [02 · L1-norm](02_l1_norm.ipynb) and least squares.
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import torch
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import thinet as checks
from rethinklab.pruners.reconstruction import layer_error

lab = start(3)

# %% [markdown]
# ## 1. Ask the next layer
#
# L1-norm looks at the weights of a filter. ThiNet (Luo et al., 2017) looks at what the *next* layer makes of the filter's channel. One output value of a convolution, before the bias, is a sum over its input channels:
#
# $$y_i = \sum_c x_{ic}, \qquad x_{ic} = \text{kernel} \cdot \text{patch of channel } c.$$

# %% [markdown]
# The number $x_{ic}$ is the *contribution* of channel $c$ to output $i$. If the contributions of a set $T$ of channels add up to nearly zero in every output, the layer can do without $T$. So ThiNet takes some sample outputs and looks for the set of the wanted size with the smallest $\sum_i (\sum_{c \in T} x_{ic})^2$.

# %% [markdown]
# The best set could be found by trying all of them, which takes too long for real layers. ThiNet is *greedy*: it adds one channel at a time, the one that keeps the sum of squares lowest. Afterwards each channel that stays gets one factor, by least squares, so that the sum of what stays comes close to $y$ again.
#
# Here is all of it. `maps` are what the layer reads, `weight` is its weight, and each row of `x` is one sample output.
#
# **Predict.** One channel has large contributions, and another has the same ones with the opposite sign. Will greedy removal find out that the two can go together?

# %%
def contributions(maps, weight, samples):
    patches = torch.nn.functional.unfold(maps, 3, padding=1).movedim(1, 2)  # image, place, C * 9
    patches = patches.reshape(-1, weight.shape[1], 9)
    place = torch.randint(len(patches), (samples,))  # random images and positions
    output = torch.randint(len(weight), (samples,))  # and random output channels
    return (patches[place] * weight[output].flatten(2)).sum(2)  # x, (samples, C)


def greedy(x, remove):
    gone = []
    for _ in range(remove):
        left = [c for c in range(x.shape[1]) if c not in gone]
        loss = {c: x[:, [*gone, c]].sum(1).square().sum().item() for c in left}
        gone.append(min(loss, key=loss.get))
    return gone


def rescale(x, kept):
    return torch.linalg.lstsq(x[:, kept], x.sum(1, keepdim=True)).solution[:, 0]


# %% [markdown]
# The first step of `greedy` looks at each channel by itself. So it finds the pair of the question only if one of the two goes first, and both are too large for that. A greedy choice need not be the best one; section 3 measures by how much.

# %% [markdown]
# ## 2. On a toy, and with less memory
#
# The toy is a convolution with 8 filters, and a second one that reads them. Four of the 8 channels are to go.

# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
images = rl.pruners.thinet.calibration_images(data, 5, seed=0).double()


def toy(seed):
    torch.manual_seed(seed)
    first, second = (torch.nn.Conv2d(a, b, 3, padding=1).double() for a, b in ((3, 8), (8, 5)))
    with torch.no_grad():
        return contributions(first(images).relu(), second.weight, samples=500)


x = toy(seed=0)
gone = greedy(x, remove=4)
kept = [c for c in range(8) if c not in gone]
print("samples, channels:", tuple(x.shape))
print("channels that go:", len(gone), "and stay:", len(kept))

# %% [markdown]
# Now the package. It never keeps the samples: the sum of squares is a quadratic form in the *Gram matrix* $G = X^\top X$, whose entry $G_{cd}$ is the sum over samples of $x_{ic}\,x_{id}$:
#
# $$\sum_i \Big(\sum_{c \in T} x_{ic}\Big)^2 = \sum_{c \in T} \sum_{d \in T} G_{cd}.$$
#
# The same holds for the least squares, which need $X_S^\top X_S$ and $X_S^\top y$, where $S$ are the channels that stay: blocks and row sums of $G$. So $G$ can be summed up batch by batch.
#
# **Predict.** Will the choice from $G$ be the same as from the samples, or only close to it?

# %%
# NBVAL_CHECK_OUTPUT
gram = x.T @ x
package = rl.pruners.gram
scales = package.least_squares_scales(gram, gram.sum(1), kept)
print("same loss:    ", torch.allclose(x[:, gone].sum(1).square().sum(), gram[gone][:, gone].sum()))
print("same channels:", package.greedy_removal(gram, remove=4) == gone)
print("same scales:  ", torch.allclose(scales, rescale(x, kept)))
print("numbers in the samples:", x.numel(), "and in the Gram matrix:", gram.numel())

# %% [markdown]
# **What you see.** Samples and Gram matrix give the same choice, in the same order, and the same scales. The samples grow with the number of images; the Gram matrix does not.

# %% [markdown]
# ## 3. Greedy against the best
#
# With 8 channels all sets of a size can be tried: 70 of them where four channels go. Let 30 toys with other weights show how often the greedy set is the best one.
#
# **Predict.** In how many of the 30? And how much larger is its loss in the worst case?

# %%
def loss(gram, sets):
    return gram[sets[:, :, None], sets[:, None]].sum((1, 2))


grams = [x.T @ x for x in map(toy, range(30))]
print("remove  sets  greedy is best  worst loss / best loss")
for remove in range(1, 8):
    sets = torch.combinations(torch.arange(8), remove)
    greedy_sets = [torch.tensor([package.greedy_removal(gram, remove)]) for gram in grams]
    ratios = [float(loss(gram, chosen) / loss(gram, sets).min())
              for gram, chosen in zip(grams, greedy_sets)]
    print(f"{remove:6} {len(sets):5} {sum(r < 1 + 1e-9 for r in ratios):9} of 30 {max(ratios):10.2f}")

# %% [markdown]
# **What you see.** The first channel to go is always the best single one, as it must be. For larger sets greedy removal finds the best set in most of the toys and misses it in some, where its loss can be clearly larger. No one could try all sets of a real layer, so this is a price to know about.

# %% [markdown]
# The factors come last and do not enter the choice. What do they repair? The error is the squared distance from the outputs over the squared outputs.

# %%
def error(x, kept, scales):
    y = x.sum(1)
    return float((y - x[:, kept] @ scales).square().sum() / y.square().sum())


print(f"as they are: {error(x, kept, torch.ones(4).double()):.3f}")
print(f"rescaled:    {error(x, kept, scales):.3f}")
print("factors:    ", [round(s, 2) for s in scales.tolist()])

# %% [markdown]
# **What you see.** The factors repair a part of the error. They can only make what is there larger or smaller, so what the removed channels alone carried stays lost.

# %% [markdown]
# ## 4. What ThiNet keeps in a trained network
#
# A slim VGG-11, trained for a few seconds and measured on training images that were held out. Three pruners get the same budget: half of the multiply-adds (`"macs:0.5"`), met by one ratio for all layers. *Random* draws its filters by lot.

# %%
held = data.subset(3000, 500).hold_out(0.1)
large = rl.train(rl.build_model("vgg11", width=0.125), held,
                 rl.Recipe(epochs=4, lr=0.05), progress=False)
pruners = rl.pruners.L1Norm, rl.pruners.ThiNet, rl.pruners.RandomChoice
plans = {pruner.name: pruner("macs:0.5").fit(large.model, held) for pruner in pruners}
print("widths:", *plans["thinet"].kept_widths.values())
print("the same for all:", all(p.kept_widths == plans["l1"].kept_widths for p in plans.values()))

# %% [markdown]
# Remember the second line. With such a target the three methods find *the same architecture*. They differ in one thing only: which of the trained filters are inherited.
#
# **Predict.** Will ThiNet keep mostly the filters that L1-norm keeps?

# %%
figure = rl.figures.kept(large.model, plans)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** ThiNet keeps hardly more of L1-norm's filters than a random draw does: it lets large ones go and keeps small ones. Behind each convolution stands a batch normalisation, which gives every channel a scale of its own, so the norm of a filter says little about what the next layer receives.

# %% [markdown]
# ## 5. What the next layer loses
#
# ThiNet promises one thing: that the next layer's outputs change little. We can measure that on images that it did not see. Prune *one* layer, and compare the outputs of the layer that reads it with those of the unpruned network: the squared difference over the squared outputs.
#
# **Predict.** By what factor will ThiNet's error be smaller than that of random filters?

# %%
images = next(rl.data.batches.plain_batches(held, held.test))[0][:100]  # held-out images
reads = rl.pruners.thinet.readers_of(large.model, held.input_shape, plans["l1"].keep)


def lost(method, layer):
    plan = rl.make_pruner(method, {layer: 0.5}).fit(large.model, held)
    return layer_error(large.model, plan.apply(large.model), reads[layer][0].name, images)


layers = list(reads)[::2]  # every other layer, to save time
alone = {method: {layer: lost(method, layer) for layer in layers} for method in plans}

# %%
figure = rl.figures.layer_errors(alone, label="One layer pruned by half; held-out images.",
                                 layer="Layer that is pruned")
print(figure.caption)
figure

# %% [markdown]
# **What you see.** In every layer shown ThiNet's error is far below the other two, on images that it never saw. L1-norm, which sees no data, is not always better than random filters.

# %% [markdown]
# ## 6. Right after pruning
#
# Now all layers together. `plan.apply` gives the kept channels with ThiNet's factors. `plan.ticket` takes the same channels and leaves the weights of the large network as they are, so that choice and rescaling can be told apart.
#
# **Predict.** What does more for the accuracy: the choice of channels, or the factors?

# %%
networks = {name: plan.apply(large.model) for name, plan in plans.items()}
networks["thinet, not rescaled"] = plans["thinet"].ticket(large.model)
accuracy = {name: rl.evaluate(model, held)[0] for name, model in networks.items()}
print(f"{'unpruned':22} {large.test_accuracy:.1%}")
for name, value in accuracy.items():
    print(f"{name:22} {value:.1%}")

# %% [markdown]
# **What you see.** ThiNet's network keeps the most accuracy before any training, and random filters leave almost nothing. Both parts count: the choice alone already leaves more than L1-norm does, and the factors add more on top.

# %% [markdown]
# ## 7. After training: the recorded study
#
# Six seeds, each with one large network that is pruned and then trained in four ways. *LR rewinding* keeps the inherited weights as fine-tuning does, but repeats the whole schedule of learning rates. Scratch-E and Scratch-B begin from new weights.
#
# **Predict.** ThiNet starts far ahead of the other choices. Will its fine-tuned networks also beat those trained from scratch?

# %%
results = lab.results("thinet-vgg11-digits-half-classroom")
results

# %%
rl.figures.regimes(results)

# %%
rl.figures.differences(results)

# %% [markdown]
# **What you see.** Scratch-B is better than fine-tuning, and in every seed. Scratch-E and fine-tuning cannot be told apart. LR rewinding, which has the inherited weights *and* the whole schedule, is better than Scratch-E, and Scratch-B against it is not decided. So inherited weights can be worth something, but fine-tuning as in the study does not show it.

# %% [markdown]
# ## 8. Does looking at the data help?
#
# The same study was made with L1-norm and with random filters, from the same large networks. As in section 4 the architecture is the same, so the scratch-trained networks are too, and only regimes that inherit weights can differ.
#
# **Predict.** ThiNet minus L1-norm and ThiNet minus random, both after fine-tuning: which differences will be decided?

# %%
names = lab.choose(["l1", "random"], quick=1)
others = {name: lab.results(f"{name}-vgg11-digits-half-classroom") for name in names}
for name, other in others.items():
    for regime in ("scratch-e", "scratch-b"):
        same = results.accuracies(regime).equals(other.accuracies(regime))
        print(f"{regime} is the same in the study of {name}: {same}")
    print(other.table()[["regime", "accuracy", "sd"]].to_string(index=False), end="\n\n")

# %%
family = [(f"ThiNet ({regime})", name, results.accuracies(regime), other.accuracies(regime))
          for name, other in others.items() for regime in ("finetune", "lr-rewind")]
for verdict in rl.compare_family(family, margin=results.margin):
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** After fine-tuning ThiNet is better than random filters, so a sensible choice is worth something. But against L1-norm, which it left far behind before training, nothing is decided, in either regime. And after LR rewinding even random filters are not shown to be worse: their mean is as high as ThiNet's.
#
# "Not decided" is not "equal". What can be said is that the large lead of section 6 is gone. The choice matters most where least training follows.

# %% [markdown]
# ## 9. What this does not show
#
# - That ThiNet is of no use. Where no training follows, it is far ahead of the other two choices.
# - How ThiNet does with its authors' schedule, which trains for an epoch or two after each layer. Here all layers are cut before any training (the option `tune_epochs` of the pruner adds it).
# - What holds for large networks and many classes, where training anew costs more.
# - That the factors are the best repair. [04 · Regression](04_regression.ipynb) refits all weights of the next layer.
# - That fine-tuning is weak as such. Its budget here is a quarter of the epochs at the lowest learning rate.

# %% [markdown]
# ## 10. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* In which layer does ThiNet gain most over L1-norm? Use `alone` from section 5: give the layer where L1-norm's error is the largest multiple of ThiNet's.

# %% exercise="largest_gain" points=1
### BEGIN SOLUTION
layer = max(alone["l1"], key=lambda name: alone["l1"][name] / alone["thinet"][name])
### END SOLUTION

# %% check="largest_gain"
lab.check(checks.largest_gain, layer, alone)

# %% [markdown] hint="largest_gain"
# `alone["l1"]` and `alone["thinet"]` map names of layers to errors. Divide the one by the other, layer by layer.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* By hand: three channels have this Gram matrix, and two are to go. Which does the greedy rule remove, in order? Number the channels 0, 1, 2, and give a list.
#
# | | 0 | 1 | 2 |
# |---|---|---|---|
# | **0** | 9 | -8 | -1 |
# | **1** | -8 | 8 | 0 |
# | **2** | -1 | 0 | 5 |

# %% exercise="by_hand" points=2
### BEGIN SOLUTION
removed = [2, 0]
### END SOLUTION

# %% check="by_hand"
lab.check(checks.by_hand, removed)

# %% [markdown] hint="by_hand"
# The first step looks at the diagonal only. The second compares, for each channel that is left, the sum over the four entries of its set. Is the result the best pair?

# %% [markdown] more="by_hand"
# Channel 2 goes first (5 is less than 8 and 9). With it, channel 0 makes 5 + 9 - 2 = 12 and channel 1 makes 5 + 8 = 13, so channel 0 follows. The pair 0 and 1 would have cost 9 + 8 - 16 = 1.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write the greedy removal so that it needs the Gram matrix only. The answer is a function of `gram` (a tensor of shape C x C) and the number of channels to remove; it gives the list of their numbers in the order in which they go, and leaves `gram` as it was.

# %% exercise="greedy_from_gram" points=3
def greedy_from_gram(gram, remove):
    ### BEGIN SOLUTION
    growth = gram.diagonal().clone()
    gone = []
    for _ in range(remove):
        taken = int(growth.argmin())
        gone.append(taken)
        growth += 2 * gram[taken]
        growth[taken] = float("inf")
    return gone
    ### END SOLUTION

# %% check="greedy_from_gram"
lab.check(checks.greedy_from_gram, greedy_from_gram)

# %% [markdown] hint="greedy_from_gram"
# If the set $T$ has gone, channel $c$ makes the loss grow by $G_{cc} + 2 \sum_{t \in T} G_{tc}$. Keep that number for every channel, and update it when one goes.

# %% [markdown]
# **Exercise 4.** *Medium, 15 minutes.* Write the rescaling from the Gram matrix: the factors of the kept channels, in their order, that bring their sum closest to the sum of *all* channels.

# %% exercise="scales_from_gram" points=2
def scales_from_gram(gram, kept):
    ### BEGIN SOLUTION
    return torch.linalg.solve(gram[kept][:, kept], gram[kept].sum(1))
    ### END SOLUTION

# %% check="scales_from_gram"
lab.check(checks.scales_from_gram, scales_from_gram)

# %% [markdown] hint="scales_from_gram"
# The normal equations are $X_S^\top X_S\, w = X_S^\top y$. The target $y$ is the sum over all channels, so $X_S^\top y$ is a row sum of $G$, over all columns.

# %% [markdown]
# ## Recall
#
# 1. What is the contribution of a channel to an output value?
# 2. Why is a channel with large contributions not always one that must stay?
# 3. Why does ThiNet need only a matrix of C x C numbers, however many samples there are?
# 4. Which step can make the greedy set worse than the best one?
# 5. ThiNet, L1-norm and random pruning at one budget: what do their networks have in common, and what not?
# 6. Why can two such methods not differ in their scratch-trained networks?

# %% [markdown]
# ## Where to go next
#
# [04 · Regression](04_regression.ipynb) goes one step further and refits the next layer's weights. [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) puts all methods side by side, and [13 · Fair budgets](13_fair_budgets.ipynb) asks how much of the answer is the recipe's doing.

# %% [markdown]
# ## References
#
# - J.-H. Luo, J. Wu, W. Lin. ThiNet: a filter level pruning method for deep neural network compression. ICCV 2017. [doi:10.48550/arXiv.1707.06342](https://doi.org/10.48550/arXiv.1707.06342)
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf. Pruning filters for efficient ConvNets. ICLR 2017. [doi:10.48550/arXiv.1608.08710](https://doi.org/10.48550/arXiv.1608.08710)
# - A. Renda, J. Frankle, M. Carbin. Comparing rewinding and fine-tuning in neural network pruning. ICLR 2020. [doi:10.48550/arXiv.2003.02389](https://doi.org/10.48550/arXiv.2003.02389)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
