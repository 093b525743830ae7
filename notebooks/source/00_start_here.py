# %% [markdown]
# # 00 · Start here
#
# **When a pruned network does well, is it because of the weights it inherited, or because of the architecture that pruning found?**

# %% [markdown]
# > **You will be able to** say what a fair test of pruning needs, prune a network, keep its architecture with or without its weights, and read a verdict.
# >
# > **You need** Python and a rough idea of what a convolutional network is.
# >
# > **Time** about 25 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import start_here as checks

lab = start(0)

# %% [markdown]
# ## 1. The question
#
# Pruning has three steps: train a large network, remove the parts that seem to matter least, and fine-tune what is left. The usual reading is that the large network *found* good weights, and that the pruned network does well because it keeps them.
#
# Liu et al. (2019) added a control. They took the pruned network, threw its weights away, and trained the same small architecture from new random weights. If it does as well, the inherited weights were not the reason.
#
# **Predict.** Which of the two will reach the higher accuracy: fine-tuned from inherited weights, or trained from new ones? Write your guess down. Section 6 has the answer for one case.

# %% [markdown]
# ## 2. The data
#
# The embedded data are real handwritten digits, set into small colour scenes with other digits in the background. They need no download, and they are hard enough that networks differ.
#
# **Predict.** Several digits are to be seen in most images. Which of them gives the image its class?

# %%
data = rl.load_data("digits")
data

# %%
rl.figures.samples(data)

# %% [markdown]
# **What you see.** Each column is one class: position, size, colour, contrast and clutter change from image to image, and the digit named by the class is the large one.

# %% [markdown]
# ## 3. A network and its cost
#
# VGG-16 stacks thirteen convolutions. Two numbers say what it costs: its *parameters*, the values it stores, and its *MACs*, the multiply-adds of one forward pass on one image. A *filter* is the part of a convolution that computes one output channel.
#
# **Predict.** Early layers have few filters and work on large maps; late layers have many filters and work on small ones. Which hold most of the parameters?

# %%
# NBVAL_CHECK_OUTPUT
vgg16 = rl.build_model("vgg16", num_classes=10)
cost = rl.profile(vgg16, data.input_shape, latency=False)
print(f"VGG-16: {cost.params:,} parameters, {cost.macs / 1e6:.2f}M MACs")

# %% [markdown]
# ## 4. Prune
#
# L1-norm pruning removes the filters whose weights have the smallest absolute sum. *Target A* is a published choice of how many each layer loses (Li et al., 2017). The result is a **plan**: which channels stay, as data, apart from any weights. Which channels they are depends on the weights; how many does not, so an untrained network serves here.
#
# **Predict.** Target A halves the first layer and the last six. Which falls by more, the parameters or the MACs?

# %%
# NBVAL_CHECK_OUTPUT
plan_a = rl.pruners.L1Norm(target="A").fit(vgg16, data)
for number in ("params", "macs"):
    before, after = getattr(plan_a.before, number), getattr(plan_a.after, number)
    print(f"{number}: {before:,} -> {after:,} ({after / before:.1%} left)")

# %%
rl.figures.widths(plan_a)

# %% [markdown]
# **What you see.** The outline is the width before and the bar the width after: the first layer and the six widest ones lose half of their channels. The parameters fall by more than the MACs, because the late layers hold most of the parameters and work on small maps.

# %% [markdown]
# ## 5. Two verbs: `apply` and `scratch`
#
# A plan can be used in two ways. `plan.apply(model)` removes the channels and *inherits* the weights of the others. `plan.scratch(model)` builds the same architecture with *new* weights. The study compares these two.
#
# Here is a small network to try them on. It trains on a part of the training images and is measured on another part that was held out; the test images are left for the recorded study.

# %%
held = data.subset(3000, 500).hold_out(0.1)
large = rl.train(rl.build_model("vgg11", width=0.125), held,
                 rl.Recipe(epochs=4, lr=0.05), progress=False)
print(f"unpruned: {large.test_accuracy:.1%} of {len(held.test)} held-out images")

# %% [markdown]
# **Predict.** Now half of the filters of every layer go. How accurate is each small network *before* any further training?

# %%
plan = rl.pruners.L1Norm(target=0.5).fit(large.model, held)
small = {"apply": plan.apply(large.model), "scratch": plan.scratch(large.model, seed=1)}
for verb, model in small.items():
    params = rl.profile(model, held.input_shape, latency=False).params
    print(f"{verb:8} {params:,} parameters, {rl.evaluate(model, held)[0]:.1%}")

# %% [markdown]
# **What you see.** The two have the same size, because they have the same architecture. Neither is of use yet: so deep a cut destroys what the one had inherited, and the other has learnt nothing. Both must be trained, and what training makes of them is the question.

# %% [markdown]
# ## 6. The recorded study
#
# How long may each train? The study names its budgets:

# %%
for name in ("finetune", "scratch-e", "scratch-b"):
    regime = rl.REGIMES[name]
    print(f"{regime.title:12} {regime.meaning}")

# %% [markdown]
# Scratch-B gets more epochs because each epoch of a small network costs less: large and small then spend about the same computation.
#
# The study was run before, on VGG-16 cut by target A, with several seeds. In each seed all regimes share one large network and its plan, so their accuracies can be compared in pairs.
#
# **Predict.** Look at your guess from section 1 once more. By how many percentage points will the better regime lead?

# %%
results = lab.results("l1-vgg16-digits-quick")
print(results.label)
results.table().set_index("regime")

# %%
rl.figures.regimes(results)

# %% [markdown]
# **What you see.** Each dot is one seed and each open mark a mean with its standard deviation; grey lines join the regimes of one seed, so look whether the lines all rise or all fall, not whether the clouds overlap. Whether so few lines are enough is for the verdict to say.

# %% [markdown]
# A mean difference alone decides nothing: with few seeds it can be luck. The verdict is one of four: *better*, *worse*, *equivalent* (the difference is shown to be smaller than a margin that was set before), or *not decided*. The two comparisons below were declared together, so their claims are held to a stricter bar (Holm's rule).
#
# The *interval* is built to hold the true mean difference in 95 of 100 such studies. The *exact sign-flip p* counts how many of all ways to give the differences a sign make a mean at least as far from zero: with three pairs there are eight ways, so it is never below 2/8. [10](10_scratch_or_finetune.ipynb) builds both.

# %%
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Both scratch regimes are higher than fine-tuning in every seed. For Scratch-B that is just enough for *better* by the t test, which assumes that differences are normal; three pairs are too few for the exact test to say so. For Scratch-E, whose interval holds zero, it is *not decided*. With two comparisons in one family the bar is higher than a single interval shows. The verdict says how many pairs would show a true difference of a given size four times out of five.

# %% [markdown]
# ## 7. What this does not show
#
# - One network, one pruning method, one data set of small images. Other methods and data can come out differently.
# - The networks are slim and train for a few epochs. Scratch-B ends above the *unpruned* network, a sign that the large one had not finished learning and left fine-tuning little to inherit. The published study trained for longer.
# - Few seeds. The verdict says what their number allows and no more.
# - Accuracy is all that is compared, not the computation that went into finding the plan.

# %% [markdown]
# ## 8. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* Compute the mean of Scratch-B minus Unpruned over the seeds, in percentage points. `results.accuracies(regime)` gives the accuracies by seed, in percent; the regimes are called `scratch-b` and `unpruned`.

# %% exercise="mean_difference" points=1
### BEGIN SOLUTION
difference = (results.accuracies("scratch-b") - results.accuracies("unpruned")).mean()
### END SOLUTION

# %% check="mean_difference"
lab.check(checks.mean_difference, difference, results, "scratch-b", "unpruned")

# %% [markdown] hint="mean_difference"
# The two series have the seed as their index, so pandas subtracts seed from seed.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* Target A gives VGG-16 fewer FLOPs (operations; a multiply-add counts as two). The published study trained the large network for 160 epochs. How many does Scratch-B get? Replace the dots with a number or an expression.

# %% exercise="scratch_b_epochs" points=1
### BEGIN SOLUTION
epochs = int(160 * plan_a.flops_ratio)
### END SOLUTION

# %% check="scratch_b_epochs"
lab.check(checks.scratch_b_epochs, epochs, 160, plan_a)

# %% [markdown] hint="scratch_b_epochs"
# `plan_a.flops_ratio` is the FLOPs of the large network over those of the small one.

# %% [markdown]
# **Exercise 3.** *Medium, 10 minutes.* Make a plan for `vgg16` with one ratio for all layers that leaves about half of its multiply-adds. The plan is the answer.

# %% exercise="halves_macs" points=2
### BEGIN SOLUTION
half = rl.pruners.L1Norm(target=0.3).fit(vgg16, data)
### END SOLUTION

# %% check="halves_macs"
lab.check(checks.halves_macs, half)

# %% [markdown] hint="halves_macs"
# Try a ratio and read the diagnosis. A layer that keeps the share *s* of its filters, and whose input keeps the share *s* too, costs *s* times *s* of what it did.

# %% [markdown]
# ## 9. Recall
#
# 1. Which control did Liu et al. add to the usual three steps?
# 2. What does a plan hold, and what does it leave out?
# 3. Why does Scratch-B get more epochs than Scratch-E?
# 4. Why are accuracies compared seed by seed?
# 5. What is the difference between *equivalent* and *not decided*?

# %% [markdown]
# ## 10. Where to go next
#
# [01 · Networks and cost](01_networks_and_cost.ipynb) says what parameters, MACs and milliseconds count. [02 · L1-norm](02_l1_norm.ipynb) opens up the method used here, and 03 to 09 do so for the other methods of the study.
#
# [10 · Scratch or fine-tune](10_scratch_or_finetune.ipynb) puts them side by side, [13 · Fair budgets](13_fair_budgets.ipynb) turns the conclusion round and back, and [15 · Your own model and data](15_your_own_model_and_data.ipynb) asks the question of your own network. Words are explained in the [glossary](GLOSSARY.md).

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf. Pruning filters for efficient ConvNets. ICLR 2017. [doi:10.48550/arXiv.1608.08710](https://doi.org/10.48550/arXiv.1608.08710)
# - K. Simonyan, A. Zisserman. Very deep convolutional networks for large-scale image recognition. ICLR 2015. [doi:10.48550/arXiv.1409.1556](https://doi.org/10.48550/arXiv.1409.1556)
