# %% [markdown]
# # 02 · L1-norm
#
# **Do small filters matter less, and does keeping the large ones help the pruned network?**

# %% [markdown]
# > **You will be able to** write the L1-norm criterion, remove filters without changing what the others compute, scan how much each layer can lose, and judge a fine-tuned network against one trained from scratch.
# >
# > **You need** [00 · Start here](00_start_here.ipynb) and the shape of a convolution's weight.
# >
# > **Time** about 35 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import torch
import rethinklab as rl
from rethinklab.notebook import start, widgets
from rethinklab.notebook.checks import l1_norm as checks
from rethinklab.pruners.sensitivity import sensitivity

lab = start(2)


# %% [markdown]
# ## 1. The criterion, in full
#
# A convolution's weight has the shape (filters, input channels, kernel height, kernel width). The L1-norm of filter $j$ is $s_j = \sum |W_j|$, the sum of its absolute weights. Li et al. (2017) remove the filters of each layer with the smallest $s_j$: with inputs of similar size, a small filter gives small outputs, which the next layer will miss least.
#
# **Predict.** Below, the weight of `first` has the shape (6, 3, 3, 3) and that of `second`, which reads it, (4, 6, 3, 3). Three filters of `first` go. Which shapes are left?

# %%
# NBVAL_CHECK_OUTPUT
def largest(weight, keep):
    scores = weight.abs().sum(dim=(1, 2, 3))  # one number a filter
    return sorted(scores.argsort(descending=True)[:keep].tolist())


def cut(first, second, kept):
    first.weight = torch.nn.Parameter(first.weight[kept])  # rows: the filters that stay
    second.weight = torch.nn.Parameter(second.weight[:, kept])  # columns: what reads them


first, second = torch.nn.Conv2d(3, 6, 3, bias=False), torch.nn.Conv2d(6, 4, 3, bias=False)
toy = torch.nn.Sequential(first, torch.nn.ReLU(), second)
data = rl.load_data("digits")
toy_plan = rl.pruners.L1Norm(target=0.5).fit(toy, data)  # the package, before our own cut
theirs = toy_plan.apply(toy)
kept = largest(first.weight, keep=3)
print("same filters:", tuple(kept) == toy_plan.keep["0"])
cut(first, second, kept)
print("weights now:", tuple(first.weight.shape), tuple(second.weight.shape))
images = torch.randn(8, *data.input_shape)
print("same outputs:", torch.allclose(toy(images), theirs(images), atol=1e-6))

# %% [markdown]
# **What you see.** A filter that goes takes a channel with it, so the next convolution loses the weights that read that channel. The two functions above choose the same filters as the package and leave a network with the same outputs. From here on the package does it, for any network and with a check after each cut.

# %% [markdown]
# ## 2. Which filters go
#
# Now a network that has learnt something: a slim VGG-11, trained for a few seconds. The images it is measured on are training images that were held out, because the next section makes choices by them. Choices made on test images would make the final accuracy look better than it is.

# %%
task = data.subset(3000, 500)
held = task.hold_out(0.1)
recipe = rl.Recipe(epochs=4, lr=0.05)
large = rl.train(rl.build_model("vgg11", width=0.125), held, recipe, progress=False)
print(f"unpruned: {large.test_accuracy:.1%} of {len(held.test)} held-out images")

# %% [markdown]
# The scores of one layer can be compared with each other, but not with those of another layer, whose filters have another number of weights. So each layer is ranked by itself, at a ratio of its own.
#
# **Predict.** Sort the scores of a layer from large to small. Is there a step between filters that matter and filters that do not?

# %%
halved = rl.pruners.L1Norm(target=0.5).fit(large.model, held)
figure = rl.figures.scores(large.model, halved)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** In most layers the scores fall without a clear step, and in the later ones they hardly differ: the filters just above and just below the cut are nearly alike, so the ranking says little about which of the two to keep.

# %% [markdown]
# The cut itself, in the first two layers, drawn as in section 1: rows are filters, columns are the channels they read.
#
# **Predict.** Half of the filters of both layers go. Which share of the kernels of the *second* layer stays?

# %%
figure = rl.figures.surgery(large.model, halved)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** The second layer loses twice: its own smallest filters, and the columns that read what the first layer no longer makes. Half of the filters everywhere leaves about a quarter of the weights.

# %% [markdown]
# ## 3. How much can each layer lose?
#
# Silence the smallest filters of *one* layer, leave all others alone, and measure the accuracy without any retraining. Repeat for each layer and ratio. Li et al. choose the ratios of a target by such a *sensitivity scan*.
#
# **Predict.** Which layer will stand the loss of half its filters best: the first, one in the middle, or the last?

# %%
scan = sensitivity(large.model, task, ratios=(0.0, 0.25, 0.5, 0.75))
figure = rl.figures.sensitivity(scan)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** The lines fan out: the same share of filters costs far more accuracy in one layer than in another. With so few images a line can shift by a few points, so only wide gaps count.

# %% [markdown]
# ## Explore
#
# Without a kernel you see the first picture of each of the two widgets below. With one, the controls draw it anew; Tab and the arrow keys move them too.
#
# Choose a method, a layer or all of them, and the share of its filters to remove. The method `random` removes as many filters of each layer, but draws which. Nothing is retrained.
#
# **Predict.** Half of the filters of every layer go. Which share of the parameters and MACs is left, and which accuracy? And what does `random` leave?

# %%
widgets.prune_and_see(large.model, held)

# %% [markdown]
# **What you see.** Half of the filters is far more than half of the network: a convolution between two pruned layers loses half of its outputs and half of its inputs. Without retraining the accuracy falls to about that of guessing (the dotted line). At so high a ratio no criterion can show what it is worth; with a kernel, compare the two methods at 20%, or in one layer at a time.

# %% [markdown]
# The same cut, seen from inside: the filters of the first layer, and the *activation map* that each channel of a layer makes of an image.
#
# **Predict.** Will the maps of the channels that are cut be darker than those of the channels that stay, in the first layer and in the last?

# %%
widgets.channel_pictures(large.model, halved, held)

# %% [markdown]
# **What you see.** For this image the first layer bears out the idea: its small filters, whose pictures are nearer to grey, give the darker maps on average. The caption has both means. With a kernel, look at the last layer and at other images before you believe it of all.

# %% [markdown]
# ## 4. From a scan to a target
#
# A *target* says how much goes of which layer: one ratio for all, ratios by layer, or the name of a published choice. For the fully trained VGG-16 on CIFAR-10, Li et al. found the first layer and the last six to be insensitive, and halved those; the tables call this target A.

# %%
# NBVAL_CHECK_OUTPUT
vgg16 = rl.build_model("vgg16", num_classes=10)
plan_a = rl.pruners.L1Norm(target="A").fit(vgg16, data)
print("before", *plan_a.widths.values())
print("after ", *plan_a.kept_widths.values())
print(f"{plan_a.before.params:,} -> {plan_a.after.params:,} parameters")
print(f"{plan_a.before.macs / 1e6:.2f}M -> {plan_a.after.macs / 1e6:.2f}M MACs")

# %%
rl.figures.widths(plan_a)

# %% [markdown]
# **What you see.** Target A leaves the middle of the network alone and halves its ends.
#
# Our slim network has a scan of its own, so it gets ratios of its own: half of the filters of the four layers that stand it best.
#
# **Predict.** By itself, each of these four costs less than the cut of any other layer would. What will they cost together?

# %%
at_half = scan[scan["ratio"] == 0.5].set_index("layer")["accuracy"]
target = dict.fromkeys(at_half.nlargest(4).index, 0.5)
plan = rl.pruners.L1Norm(target).fit(large.model, held)
print(at_half[list(target)].map("{:.1%}".format).to_string())
print(f"all four: {rl.evaluate(plan.apply(large.model), held)[0]:.1%}")
print(f"MACs: {plan.after.macs / plan.before.macs:.1%} left")

# %% [markdown]
# **What you see.** Together the cuts cost more than any of them alone. A scan looks at one layer at a time and cannot see what the layers lose jointly.

# %% [markdown]
# ## 5. After the cut: fine-tune, or start anew
#
# Fine-tuning continues from the inherited weights for a quarter of the epochs (rounded to a whole number) at the lowest learning rate. Scratch-E trains new weights with the recipe of the large network.
#
# **Predict.** Order these four by accuracy: unpruned, just pruned, fine-tuned, Scratch-E.

# %%
small = {"finetune": plan.apply(large.model), "scratch-e": plan.scratch(large.model, seed=1)}
print(f"unpruned     {large.test_accuracy:.1%}")
print(f"just pruned  {rl.evaluate(small['finetune'], held)[0]:.1%}")
for name, model in small.items():
    budget = rl.REGIMES[name].budget(recipe, plan.flops_ratio)
    trained = rl.train(model, held, budget, progress=False)
    print(f"{name:12} {trained.test_accuracy:.1%}, epochs: {budget.epochs}")

# %% [markdown]
# **What you see.** A short fine-tuning wins back much of what the cut destroyed. Whether it beats the scratch run cannot be said from this cell: it shows one seed, few images and unequal budgets. That takes a study.

# %% [markdown]
# ## 6. The recorded study
#
# VGG-16 at target A, several seeds, each with one large network that all regimes share. Scratch-B trains new weights for as much computation as the large network had.
#
# **Predict.** Which of the three trained small networks comes out on top, and will the verdict be decided?

# %%
results = lab.results("l1-vgg16-digits-quick")
results

# %%
rl.figures.regimes(results)

# %% [markdown]
# **What you see.** Both scratch regimes lie above fine-tuning in every seed, and only Scratch-B, which also trains for longest, is better, by the t test alone: three pairs are too few for the exact one. Nothing here says that the pruned architecture needs the inherited weights to do well.

# %% [markdown]
# ## 7. What this does not show
#
# - That the L1-norm is a good or a bad criterion. That needs a control, such as pruning the *largest* filters (exercise 3) or random ones.
# - That inherited weights are worthless. Fine-tuning had a quarter of the epochs at a low learning rate; scratch training had more. Budgets are part of the question.
# - What happens with long training. These networks are slim, the images small and the epochs few; the published study used 160 epochs.
# - What holds at other ratios or for other methods.

# %% [markdown]
# ## 8. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* Which layer is the most sensitive one at a ratio of 0.5? Give its name as it stands in `scan`, a table with the columns `layer`, `ratio` and `accuracy`; the caption in section 3 speaks of another ratio.

# %% exercise="most_sensitive" points=1
### BEGIN SOLUTION
rows = scan[scan["ratio"] == 0.5].set_index("layer")
layer = rows["accuracy"].idxmin()
### END SOLUTION

# %% check="most_sensitive"
lab.check(checks.most_sensitive, layer, scan, ratio=0.5)

# %% [markdown] hint="most_sensitive"
# Keep the rows of that ratio only. The most sensitive layer is the one that leaves the lowest accuracy.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* Target A takes 32 of the 64 filters of VGG-16's first convolution, which reads 3 channels. How many parameters leave with them, if no other layer is pruned? Convolutions have no bias and 3x3 kernels, batch normalisation follows, and the next convolution has 64 filters.

# %% exercise="parameters_removed" points=2
### BEGIN SOLUTION
removed = 32 * 3 * 9 + 2 * 32 + 64 * 32 * 9
### END SOLUTION

# %% check="parameters_removed"
lab.check(checks.parameters_removed, removed)

# %% [markdown] hint="parameters_removed"
# Three tensors shrink, one of them in the next layer. Batch normalisation learns two values for each channel.

# %% [markdown] more="parameters_removed"
# Or ask the package:
#
# ```python
# only_first = rl.pruners.L1Norm({"features.0": 32}).fit(vgg16, data)
# removed = only_first.before.params - only_first.after.params
# ```

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Is it the criterion that does the work? Write the opposite one: a pruner that removes the filters with the *largest* L1-norm. `score` gets a convolution and gives one number for each filter, as a tensor; the channels with the lowest scores are the ones that go.

# %% exercise="largest_go" points=2
class LargestGo(rl.pruners.ChannelPruner):
    name = "largest-go"

    def score(self, layer):
        ### BEGIN SOLUTION
        return -layer.weight.abs().flatten(1).sum(1)
        ### END SOLUTION

# %% check="largest_go"
lab.check(checks.largest_go, LargestGo)

# %% [markdown] hint="largest_go"
# One number for each filter: `flatten(1)` makes a row of each filter's weights. Then turn the order round.

# %% [markdown] more="largest_go"
# Then compare the two on one layer:
#
# ```python
# for method in (rl.pruners.L1Norm, LargestGo):
#     one = method({"features.8": 0.5}).fit(large.model, held)
#     print(method.name, rl.evaluate(one.apply(large.model), held)[0])
# ```

# %% [markdown]
# ## Recall
#
# 1. What is the L1-norm score of a filter, and which filters go?
# 2. Which weights besides its own leave with a filter?
# 3. Why are ratios chosen on held-out training images and not on test images?
# 4. What does a sensitivity scan not see?
# 5. Which comparison would show what the inherited weights are worth, and which one what the criterion is worth?
#
# **Where to go next.** [03 · ThiNet](03_thinet.ipynb) and [04 · Regression](04_regression.ipynb) choose channels by what the next layer reads; [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) asks the question of section 6 of all methods.

# %% [markdown]
# ## References
#
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf. Pruning filters for efficient ConvNets. ICLR 2017. [doi:10.48550/arXiv.1608.08710](https://doi.org/10.48550/arXiv.1608.08710)
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
