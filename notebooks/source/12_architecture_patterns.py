# %% [markdown]
# # 12 · Architecture patterns
#
# **If the value of pruning is the architecture that it finds, what is the pattern in it, and is it of use without pruning?**

# %% [markdown]
# > **You will be able to** read the widths that pruning finds stage by stage, turn them into a guided, a uniform and a transferred design, compare these from scratch, and say when a found pattern is more than chance.
# >
# > **You need** [05 · Network slimming](05_network_slimming.ipynb) and [08 · Weight level](08_weight_level.ipynb), or a rough idea of both.
# >
# > **Time** about 40 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import pandas as pd, rethinklab as rl
from rethinklab.results.efficiency import efficiency_tables
from rethinklab.notebook import start, widgets
from rethinklab.notebook.checks import architecture_patterns as checks
lab = start(12)

# %% [markdown]
# ## 1. A pattern as averages, in full
#
# Liu et al. (2019) read pruning as a search for an architecture. To use what it found, they describe it by **stages**: the layers whose feature maps have one size. A *guided* design gives every layer the average share that its stage kept. It needs no large network any more, only the averages.
#
# The toy is an untrained VGG-16 with random widths at about half of the multiply-adds, so that the layers of a stage differ.
#
# **Predict.** A stage has three layers of 32 filters, of which 8, 16 and 24 stay. How many filters do its layers have in the guided design?

# %%
# NBVAL_CHECK_OUTPUT
def stage_means(plan, sides):
    shares = {}
    for layer, width in plan.widths.items():  # sides: of feature maps, 0 for linear layers
        shares.setdefault(sides.get(layer, 0), []).append(plan.kept_widths[layer] / width)
    return {side: sum(kept) / len(kept) for side, kept in shares.items()}


def guided_widths(plan, sides):
    means = stage_means(plan, sides)
    return {layer: max(1, round(width * means[sides.get(layer, 0)]))
            for layer, width in plan.widths.items()}


data = rl.load_data("digits")
toy = rl.build_model("vgg16", num_classes=10, width=0.125)
drawn = rl.pruners.RandomWidths(0.3, of="l1", seed=11).fit(toy, data)
sides = rl.pruners.stages.layer_sides(toy, data.input_shape)
for side, mean in stage_means(drawn, sides).items():
    print(f"{side:2} pixels: {mean:.1%} kept")
print("same averages:", [round(mean, 6) for mean in stage_means(drawn, sides).values()]
      == rl.pruners.stage_shares(drawn, toy)["channels"])
print("same widths:", guided_widths(drawn, sides) == drawn.guided(toy).kept_widths)

# %%
rl.figures.widths(drawn)

# %% [markdown]
# **What you see.** Outline and bar are a layer before and after. Within most stages the shares differ widely, and the guided design throws that away: it keeps one number a stage.

# %% [markdown]
# ## 2. Found, guided, uniform
#
# A *uniform* design gives all layers one share. To compare designs fairly their cost must be equal, and there are two costs: parameters and multiply-adds (MACs).
#
# **Predict.** The uniform design below has as many parameters as the drawn one, to the nearest channel. Must it have as many MACs?

# %%
# NBVAL_CHECK_OUTPUT
designs = {"drawn": drawn, "guided": drawn.guided(toy), "uniform": drawn.uniform(toy)}
for name, plan in designs.items():
    print(f"{name:8} {plan.after.params:7,} parameters, {plan.after.macs:9,} MACs")

# %% [markdown]
# **What you see.** The parameters of drawn and uniform nearly agree, the MACs do not: a filter costs most of its parameters where layers are wide, and most of its MACs where feature maps are large. A comparison "at equal size" has to say which size.

# %% [markdown]
# ## 3. The widths that slimming finds
#
# [Network slimming](05_network_slimming.ipynb) ranks all channels of the network by the scale of their batch normalisation, under one threshold. So it decides by itself how much each layer loses.
#
# The tables of this and the next sections were recorded; running these studies takes hours.
#
# **Predict.** Which layers lose most, the early ones with few channels and large maps, or the late ones with many channels and small maps?

# %%
studies = rl.load_studies(lab.root / "data" / "results")
names = {"VGG-11, strength 0.0025": "slimming-vgg11-digits-half-classroom",
         "VGG-16, strength 0.01": "slimming-vgg16-digits-0.6-12-epochs-quick"}
widths = {study: studies[study].table("widths") for study in names.values()}
rl.figures.layer_widths(widths[names["VGG-11, strength 0.0025"]])

# %% [markdown]
# **What you see.** The early layers keep most of their channels, the last convolutions lose most of theirs, in every seed. The linear layer after them is left whole.

# %% [markdown]
# If slimming drew its channels from the whole network at random, each stage would keep about the share that the network keeps. That is the chance to compare with.
#
# **Predict.** The second study below used a deeper network and a penalty on the scales that was four times as strong. Will its pattern be the same?

# %%
both = pd.concat([widths[study].query("side > 0").assign(study=name)
                  for name, study in names.items()])
both.attrs["label"] = " | ".join(studies[study].label for study in names.values())
for name, rows in both.groupby("study"):
    print(f"{name}: {rows['after'].sum() / rows['before'].sum():.1%} of all channels kept")
rl.figures.stage_ratios(both)

# %% [markdown]
# **What you see.** In the first study the last two stages keep far less than the others. In the second all stages keep about what the whole network keeps, the early ones a little less: slimming chose close to chance there.

# %% [markdown]
# Why chance? Look at what there was to rank: the scales of the second study, with and without the penalty.
#
# **Predict.** What must a histogram of scales look like for a threshold to make sense?

# %%
rl.figures.scales(studies[names["VGG-16, strength 0.01"]].table("scales"))

# %% [markdown]
# **What you see.** The penalty was too strong: it drove the scales of *all* layers next to zero. Nothing sets one channel apart from another, so the threshold cuts at random. [Lesson 11](11_weight_distributions.ipynb) shows the scales of the first study, which are spread.

# %% [markdown]
# Which of the two is nearer to the published pattern? The kit holds the averages of a VGG-16 that slimming cut by 60 % on CIFAR-10, from the widths of a public run of the released code.

# %%
# NBVAL_CHECK_OUTPUT
public = rl.pruners.Transferred(0.6).stages["channels"]
print("public run:", *(f"{share:.0%}" for share in public))

# %%
for name, rows in both.groupby("study"):
    shares = (rows["after"] / rows["before"]).groupby(rows["side"]).mean()[::-1]
    order = shares.corr(pd.Series(public, index=shares.index), method="spearman")
    print(f"{name}:", *(f"{share:.0%}" for share in shares), f"(rank correlation {order:+.1f})")

# %% [markdown]
# **What you see.** Where the penalty spread the scales, the pattern agrees with the public run in the main point: late stages lose most. Where it flattened them, the order is nearly the opposite. A pattern is worth reading only after a look at the scores behind it.

# %% [markdown]
# ## 4. Which positions of a kernel stay
#
# Weight-level pruning removes single weights, so its pattern lies inside the 3x3 kernels: how often does each of the nine positions stay?
#
# **Predict.** In the last stage the feature maps have 2x2 pixels, with a border of zeros around them. Which position of a kernel sees pixels most often?

# %%
kernels = studies["weight-level-vgg11-digits-0.8-classroom"].table("kernels")
rl.figures.kernels(kernels)

# %% [markdown]
# **What you see.** Two patterns at once. From stage to stage far fewer weights stay, so most of the cut is at the end of the network. Within the two last stages the centre stays more often than the corners. The first stage varies too, but it has few weights; in between the nine positions differ little.

# %% [markdown]
# The centre is no mystery: on a small map a corner of the kernel often meets padding: at 7 of 16 places of a 4×4 map, and at a larger share of a smaller one. There its weight multiplies zeros and gets no gradient, so it grows less than the centre. Exercise 2 counts it.

# %%
corner = kernels.query("row != 1 and column != 1").groupby("stage")["keep"].mean()
centre = kernels.query("row == 1 and column == 1").groupby("stage")["keep"].mean()
for side in sorted(corner.index, reverse=True):
    print(f"{side:2} pixels: the centre stays {centre[side] / corner[side]:.2f} times as often")

# %% [markdown]
# ## 5. Do the designs work from scratch?
#
# Each architecture below was trained from new weights, for as many epochs as the large network: **found** by slimming, **uniform** with as many parameters, **guided** by the averages of the found one, and **transferred**, by those of the public run on other images.
#
# They are made after the study with the strong penalty, in which slimming chose close to chance.
#
# **Predict.** Order the four designs by accuracy.

# %%
strong = names["VGG-16, strength 0.01"]
chosen = {"found": strong, "uniform": f"uniform-{strong}", "guided": f"guided-{strong}",
          "transferred": "transferred-vgg16-digits-0.6-12-epochs-quick"}
table = efficiency_tables([studies[name] for name in chosen.values()])
rl.figures.efficiency(next(iter(table.values())))

# %%
trained = {design: studies[name].accuracies("scratch-e") for design, name in chosen.items()}
family = [(design, "found", trained[design], trained["found"]) for design in list(chosen)[1:]]
for verdict in rl.compare_family(family, margin=studies[strong].margin):
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** The found architecture is the *lowest* of the four. Uniform and transferred are better than it, and for guided it is not decided. The paper reports the opposite order for VGG networks, found before uniform (not verified here). Section 3 says why that could not come out here: what was found is noise.

# %% [markdown]
# The transferred design is the highest, but look at the right panel: at equal parameters it spends far more MACs than the others, because it keeps the early layers, where maps are large. Here its widths and its computation cannot be told apart.

# %% [markdown]
# ## 6. Designs of single weights
#
# The same question with masks: weights at the positions **found** by magnitude, at **guided** random places with each stage's probability of every position, and at **uniform** random places.
#
# **Predict.** Will random places with the right probabilities do as well as the places found?

# %%
masked = "weight-level-vgg16-digits-0.9-quick"
found = studies[masked].accuracies("scratch-e")
family = [(design, "found", studies[f"{design}-{masked}"].accuracies("scratch-e"), found)
          for design in ("guided", "uniform")]
for verdict in rl.compare_family(family, margin=studies[masked].margin):
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Both designs are lower on average and neither verdict is decided: the seeds lie many points apart. The intervals say that little can be learnt from this study.

# %% [markdown]
# ## 7. The study with a pattern
#
# Back to the study that found the clear pattern of section 3. Does its architecture need the inherited weights?
#
# **Predict.** The found network has half of the MACs. Will Scratch-B, which spends as much computation as the large network, reach the unpruned accuracy?

# %%
results = lab.results("slimming-vgg11-digits-half-classroom")
rl.figures.regimes(results)

# %%
print(results.table().to_string(index=False), end="\n\n")
for verdict in results.verdicts():
    print(verdict, end="\n\n")

# %% [markdown]
# **What you see.** Scratch-B ends about as high as the unpruned network on average. Only one of the four comparisons is decided: Scratch-E, with as many epochs as LR rewinding, is worse than it. Against ordinary fine-tuning, and for Scratch-B against LR rewinding, seeds differ too much for a verdict. So the study shows neither that the architecture alone is enough nor that it is not.

# %% [markdown]
# **Explore.** Choose a study, and one seed or the mean of all. Bars are layers, lines the stages that a guided design would take over.
#
# **Predict.** L1-norm pruning with one ratio for all layers: what does its picture look like, before you choose it?

# %%
pictures = {"slimming, strength 0.0025": names["VGG-11, strength 0.0025"],
            "slimming, strength 0.01": names["VGG-16, strength 0.01"],
            "weight level": "weight-level-vgg11-digits-0.8-classroom",
            "L1-norm": "l1-vgg11-digits-half-classroom"}
widgets.architecture_patterns({title: studies[study].table("widths")
                               for title, study in pictures.items()})

# %% [markdown]
# **What you see.** The picture of slimming falls from stage to stage. With L1-norm, once you choose it, all bars have about one height: that pattern was set, not found.

# %% [markdown]
# ## 8. What this does not show
#
# - That the clear pattern is a good design: no uniform or guided control of that study was recorded, so section 7 says nothing of its widths against others.
# - That slimming fails. Its penalty was badly chosen in one study; designs made after the other were not tried.
# - Anything about residual networks. The paper reports that there pruning does not beat uniform designs (not verified here).
# - That designs with equal parameters are equal. Their MACs, memory and latency differ.

# %% [markdown]
# ## 9. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* In the study with the weaker penalty, in which layer do the seeds differ most in the number of channels that they keep, the most minus the fewest? Give its name. The table is `widths[names["VGG-11, strength 0.0025"]]`, with a row for each layer and seed; `after` counts the channels kept.

# %% exercise="least_agreed" points=1
### BEGIN SOLUTION
kept = widths[names["VGG-11, strength 0.0025"]].groupby("layer")["after"]
layer = (kept.max() - kept.min()).idxmax()
### END SOLUTION

# %% check="least_agreed"
lab.check(checks.least_agreed, layer, widths[names["VGG-11, strength 0.0025"]])

# %% [markdown] hint="least_agreed"
# Group the rows by layer. The largest and the smallest `after` of each group are `max()` and `min()`.

# %% [markdown]
# **Exercise 2.** *Medium, 10 minutes.* A 3x3 convolution with a border of one zero runs over a map of 2x2 pixels, and gives 2x2 outputs. At which share of the outputs does the kernel's upper left corner lie on a pixel instead of the border?

# %% exercise="corner_on_pixels" points=1
### BEGIN SOLUTION
share = 1 / 4
### END SOLUTION

# %% check="corner_on_pixels"
lab.check(checks.corner_on_pixels, share, side=2)

# %% [markdown] hint="corner_on_pixels"
# The kernel is centred on each pixel in turn; its upper left corner lies one row above and one column to the left.

# %% [markdown] more="corner_on_pixels"
# By counting, for any map:
#
# ```python
# import torch
# ones = torch.ones(1, 1, 2, 2)
# corner = torch.zeros(1, 1, 3, 3)
# corner[..., 0, 0] = 1
# torch.nn.functional.conv2d(ones, corner, padding=1).mean()
# ```

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write a transfer. `shares` lists what each stage of another network kept, largest feature map first; `widths` and `sides` are dictionaries of this network's layers. Return the new width of each layer: rounded, and at least one channel.

# %% exercise="transfer" points=2
def transfer(shares, widths, sides):
    ### BEGIN SOLUTION
    stages = sorted(set(sides.values()), reverse=True)
    share = dict(zip(stages, shares))
    return {layer: max(1, round(width * share[sides[layer]])) for layer, width in widths.items()}
    ### END SOLUTION

# %% check="transfer"
lab.check(checks.transfer, transfer)

# %% [markdown] hint="transfer"
# First make a dictionary from side to share. The sides of the stages are the different values in `sides`, from the largest to the smallest.

# %% [markdown] more="transfer"
# Then try it on VGG-19, which has more layers in the same five stages:
#
# ```python
# deep = rl.build_model("vgg19", num_classes=10, width=0.125)
# deep_sides = rl.pruners.stages.layer_sides(deep, data.input_shape)
# transfer(public, {layer: deep.get_submodule(layer).out_channels for layer in deep_sides}, deep_sides)
# ```

# %% [markdown]
# ## Recall
#
# 1. What is a stage, and what does a guided design keep of the found one?
# 2. What would each stage keep if a global criterion chose at random?
# 3. Why do the corners of kernels go first on small maps?
# 4. Two designs have equal parameters. Why may one of them cost three times the MACs?
# 5. What do you look at before you believe a found pattern, and which control is missing for the clear one?

# %% [markdown]
# ## Where to go next
#
# [11 · Weight distributions](11_weight_distributions.ipynb) looks into the weights instead of the widths. [13 · Fair budgets](13_fair_budgets.ipynb) asks what the compared regimes may spend. [14 · Figures for a paper](14_paper_figures.ipynb) exports what you have seen here.

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang. Learning efficient convolutional networks through network slimming. ICCV 2017. [doi:10.48550/arXiv.1708.06519](https://doi.org/10.48550/arXiv.1708.06519)
# - S. Han, J. Pool, J. Tran, W. J. Dally. Learning both weights and connections for efficient neural networks. NeurIPS 2015. [doi:10.48550/arXiv.1506.02626](https://doi.org/10.48550/arXiv.1506.02626)
