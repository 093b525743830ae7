# %% [markdown]
# # 01 · Networks and cost
#
# **What does a network cost, and why do parameters, multiply-adds and milliseconds tell different stories?**

# %% [markdown]
# > **You will be able to** count the parameters and multiply-adds of a network by hand, say where in VGG, ResNet, PreResNet and DenseNet they sit, tell which channels pruning can remove, and read a latency with care.
# >
# > **You need** [00 · Start here](00_start_here.ipynb) and the shape of a convolution's weight.
# >
# > **Time** about 35 minutes of reading; the computing takes about 15 seconds at most on two CPU cores.

# %%
import torch
import rethinklab as rl
from rethinklab.notebook import start
from rethinklab.notebook.checks import networks_and_cost as checks

lab = start(1)

# %% [markdown]
# ## 1. Four costs
#
# - **Parameters**: the values that training learns. They fill memory.
# - **MACs**: the multiply-adds of one forward pass on one image, in convolutions and linear layers.
# - **FLOPs**: operations, by some convention. In the released code of the study a MAC counts as two, and biases, batch normalisation, ReLU and pooling modules are added.
# - **Latency**: the milliseconds that a pass takes, on one device, for one batch.
#
# The first three are counted, the last is measured.

# %% [markdown]
# A convolution's weight has the shape (filters, input channels, kernel height, kernel width). Each weight is stored once, and is used once at every place of the output map:
#
# parameters = filters × inputs × kernel area (and one bias a filter, where the layer has biases)
#
# MACs = filters × inputs × kernel area × output height × output width
#
# A linear layer is a convolution with a single place.
#
# **Predict.** The images become twice as high and twice as wide. What happens to the parameters, and what to the MACs?

# %%
# NBVAL_CHECK_OUTPUT
def count(model, input_shape):
    """{layer: (parameters, MACs)}, in the order of the forward pass."""
    names = {layer: name for name, layer in model.named_modules() if not any(layer.children())}
    costs = {}

    def record(layer, inputs, output):  # called after the layer's forward pass
        params = sum(values.numel() for values in layer.parameters())
        if isinstance(layer, torch.nn.Conv2d):
            filters, inputs, height, width = layer.weight.shape
            macs = filters * inputs * height * width * output.shape[2] * output.shape[3]
        else:
            macs = layer.weight.numel() if isinstance(layer, torch.nn.Linear) else 0
        costs[names[layer]] = params, macs

    hooks = [layer.register_forward_hook(record) for layer in names]
    model.eval()(torch.zeros(1, *input_shape))
    for hook in hooks:
        hook.remove()
    return costs


resnet20 = rl.build_model("resnet20")
for side in (32, 64):
    print(side, [f"{sum(cost):,}" for cost in zip(*count(resnet20, (3, side, side)).values())])

# %% [markdown]
# **What you see.** The parameters stay, because weights do not depend on the size of the image. The MACs of the convolutions grow with the area of the map, four times as large; only the linear layer at the end does not grow.
#
# Does the package count the same?

# %%
# NBVAL_CHECK_OUTPUT
params, macs = (sum(cost) for cost in zip(*count(resnet20, (3, 32, 32)).values()))
cost = rl.profile(resnet20, (3, 32, 32), latency=False)
print("same parameters:", params == cost.params, " same MACs:", macs == cost.macs)
print(f"FLOPs by the study's convention: {cost.flops / cost.macs:.3f} times the MACs")

# %% [markdown]
# ## 2. Where the costs sit
#
# VGG-16 is a plain stack: thirteen convolutions, each feeding the next, with a pooling that halves the map after some of them. In the study's form for 32x32 images two small linear layers follow. Where the map halves, the channels double, up to 512.
#
# **Predict.** In which layers do you expect most of the parameters, and in which most of the MACs?

# %%
vgg16 = rl.build_model("vgg16")
per_layer = {name: cost for name, cost in count(vgg16, (3, 32, 32)).items() if cost[1]}
figure = rl.figures.layer_costs(per_layer, "vgg16, full width, 32x32 images")
print(figure.caption)
figure

# %% [markdown]
# **What you see.** The early layers work on large maps and hold few weights; the late ones hold most of the weights and work on small maps. So removing late filters saves parameters, and removing early filters saves MACs: a network can lose most of its parameters and still take much of its time.

# %% [markdown]
# ## 3. Four families
#
# - **VGG** stacks convolutions. A channel is made by one layer and read by the next.
# - **ResNet** has blocks of two convolutions whose output is *added* to the block's input. The sum that runs through the network is the *residual stream*.
# - **PreResNet** normalises before each convolution. Its blocks are *bottlenecks*: 1x1, 3x3, 1x1, narrow in the middle.
# - **DenseNet** has layers that *append* their few new channels to all that were there before.
#
# **Predict.** DenseNet-40 and VGG-16: which has more parameters, and by about how many times? Which does more MACs?

# %%
# NBVAL_CHECK_OUTPUT
sizes = {}
for name in ("vgg16", "vgg19", "resnet20", "resnet56", "resnet110", "preresnet164", "densenet40",
             "densenet_bc100"):
    options = {"variant": "slimming"} if name == "vgg19" else {}
    sizes[name] = rl.profile(rl.build_model(name, **options), (3, 32, 32), latency=False)
    print(f"{name:14} {sizes[name].params:11,} parameters {sizes[name].macs / 1e6:7.2f}M MACs")

# %% [markdown]
# **What you see.** The two columns do not rank the networks alike: the DenseNets have far fewer parameters than VGG-16 and do nearly as many MACs. These are the networks of the study at full width, for 10 classes (VGG-19 in the form that network slimming prunes, with a single linear layer); tests of the package hold their sizes to the last parameter.
#
# **Predict.** In a ResNet each stage has half the resolution and twice the channels of the one before. How do the MACs of a convolution change from stage to stage?

# %%
per_layer = {name: cost for name, cost in count(resnet20, (3, 32, 32)).items() if cost[1]}
figure = rl.figures.layer_costs(per_layer, "resnet20, full width, 32x32 images")
print(figure.caption)
figure

# %% [markdown]
# **What you see.** The MACs are level from stage to stage: a quarter of the places, four times the weights. Only the first convolution of a new stage has half as many, because it reads the narrower stream. The parameters climb by a factor of about four. Here late layers cost as many MACs as early ones.

# %% [markdown]
# ## 4. What can go: the residual stream
#
# In this ResNet the first convolution and the second one of every block add into one stream; between stages it is only padded with more channels. Channel 5 of it can go only if *all* of them lose their filter 5. The study, like Li et al. (2017), leaves the stream alone and prunes inside the blocks.
#
# **Predict.** Half of the filters go in every convolution that may lose any. VGG-16 keeps about a quarter of its MACs, since both sides of its layers shrink. And ResNet-20?

# %%
# NBVAL_CHECK_OUTPUT
data = rl.load_data("digits")
half = {"vgg16": rl.pruners.L1Norm(0.5).fit(vgg16, data),
        "resnet20": rl.pruners.L1Norm(0.5).fit(resnet20, data)}
for name, plan in half.items():
    print(f"{name:9} keeps {plan.after.macs / plan.before.macs:.1%} of its MACs, "
          f"{plan.after.params / plan.before.params:.1%} of its parameters")

# %%
# NBVAL_CHECK_OUTPUT
print(half["resnet20"].report)

# %% [markdown]
# **What you see.** In each block the first convolution loses filters, and the second loses only the inputs that read them: each shrinks on one side, so about half of the MACs stay. The report names each layer that was left alone, and why. Always read it: half of the filters *that may go* is not half of the network.

# %% [markdown]
# ## 5. Concatenation, and reading a part
#
# In a DenseNet a channel that was made once is read by every later layer of its block.
#
# **Predict.** The first dense layer of DenseNet-40 loses 6 of its 12 filters. How many weights of other layers change their shape?

# %%
# NBVAL_CHECK_OUTPUT
densenet = rl.build_model("densenet40")
narrower = rl.pruners.L1Norm({"blocks.0.0.conv1": 0.5}).fit(densenet, data).apply(densenet)
for name, layer in densenet.named_modules():
    if isinstance(layer, torch.nn.Conv2d):
        now = narrower.get_submodule(name).weight.shape
        if now != layer.weight.shape:
            print(f"{name:17} {tuple(layer.weight.shape)} -> {tuple(now)}")

# %% [markdown]
# **What you see.** One layer loses filters, and all later layers of the block, with the transition after it, lose the six inputs. Little is saved in each of many places.
#
# Network slimming ([05](05_network_slimming.ipynb)) has another way where channels are shared: the stream keeps its width, and a layer *reads* only a selection of it. `plan.read` holds that selection.

# %%
# NBVAL_CHECK_OUTPUT
preresnet20 = rl.build_model("preresnet20")
selecting = rl.pruners.Slimming(0.4).rehearse(preresnet20, data)  # sizes as expected, untrained
for name, channels in selecting.read.items():
    layer = preresnet20.get_submodule(name)
    print(f"{name:16} reads {len(channels):3} of {layer.weight.shape[1]} channels")

# %% [markdown]
# ## 6. Time
#
# Latency is what a user notices. It holds for one device, one number of threads, one batch size and one library, and it is noisy: `rl.profile` takes the median of repeated passes.
#
# The third network below is ResNet-20 with nine of ten weights set to zero, one by one ([08](08_weight_level.ipynb)). Its MACs can be counted without the zeros.
#
# **Predict.** For both pruned networks: is the share of time that is left above, at or below the share of MACs?

# %%
masked = rl.pruners.WeightLevel(0.9).fit(resnet20, data).apply(resnet20)
networks = {"unpruned": resnet20, "half of filters": half["resnet20"].apply(resnet20),
            "weights masked": masked}
measured = {name: rl.profile(model, data.input_shape, count="nonzero", batch=16)
            for name, model in networks.items()}
whole = measured["unpruned"]
for name, cost in measured.items():
    print(f"{name:16} {cost.macs / whole.macs:6.1%} of MACs {cost.latency / whole.latency:6.1%} "
          "of time")

# %% [markdown]
# **What you see.** Half of the MACs is not half of the time. Each layer has costs that do not shrink with its filters: starting an operation, moving maps through memory, batch normalisation, additions, and narrow layers use a processor less well. The masked network saves hardly any time: the zeros are multiplied like any other number, unless special code or hardware skips them.

# %% [markdown]
# Times were also recorded for the networks of a study: VGG-16, slim, cut by target A.
#
# **Predict.** About 65 % of the MACs are left. Which share of the time, for one image and for a batch of 64? On the dashed line of the figure time would fall as MACs do.

# %%
times = lab.evidence("latency", "l1-vgg16-digits-quick")
figure = rl.figures.latency(times)
print(figure.caption)
figure

# %% [markdown]
# **What you see.** The pruned networks lie above the line for one image and for a batch of 64: they are faster, and by less than their MACs suggest. This is a slim network on one CPU thread; on a GPU, with small batches, more of the time is overhead.

# %% [markdown]
# ## 7. Cost as a budget
#
# In the study costs do one more thing. Scratch-B trains the pruned network from new weights for as much computation as the large one had, so a ratio of costs sets its epochs.
#
# **Predict.** Target A leaves VGG-16 about a third of its parameters. If Scratch-B went by parameters, would it train for longer or shorter than by FLOPs?

# %%
# NBVAL_CHECK_OUTPUT
plan_a = rl.pruners.L1Norm("A").fit(vgg16, data)
for name in ("params", "macs", "flops"):
    ratio = getattr(plan_a.before, name) / getattr(plan_a.after, name)
    print(f"by {name:6} {ratio:.4f} times: {int(160 * ratio)} epochs for 160")

# %% [markdown]
# **What you see.** Parameters would give a budget far longer than equal computation; MACs and FLOPs agree, because convolutions dominate both. The study goes by FLOPs.
#
# Here is what each network of the recorded study spent. The large marks of the figure count the training of the large network, which found the architecture; the pale ones count the training from scratch alone.
#
# **Predict.** Scratch-B in all, with the training that found its architecture: about how many times the cost of the unpruned network?

# %%
results = lab.results("l1-vgg16-digits-quick")
results.table().set_index("regime")

# %%
rl.figures.accuracy_budget(results)

# %% [markdown]
# **What you see.** The pale mark of Scratch-B stands at about the cost of the unpruned network: that is its rule. Counted in all, the most accurate network has also spent the most, so from this figure alone it cannot be said how much of its lead the budget made. [13 · Fair budgets](13_fair_budgets.ipynb) takes that up.

# %% [markdown]
# ## 8. What this does not show
#
# - Energy, memory traffic, or peak memory in training. Activations, which are not counted here, often fill more memory than weights.
# - How fast a compiled, quantised or sparse implementation would be.
# - Latency on your device. Measure there, with your batch size, more than once.
# - That a cost predicts accuracy. Two networks with equal MACs can differ in what they learn.

# %% [markdown]
# ## 9. Recall
#
# 1. Which factor do MACs have that parameters do not?
# 2. In which half of VGG-16 are the parameters, and in which the MACs?
# 3. Why does halving the filters inside ResNet's blocks leave half of the MACs and not a quarter?
# 4. Which layers change when a DenseNet layer loses a filter?
# 5. Why does a masked network save no time by itself?
# 6. Which cost sets the epochs of Scratch-B?

# %% [markdown]
# ## 10. Exercises
#
# The answers use names from the cells above, so run those first. Write in place of the dots, run the cell, then run the check below it.

# %% [markdown]
# **Exercise 1.** *Easy, 5 minutes.* A convolution has 64 filters of 3x3 over 32 input channels, without bias, and puts out maps of 16x16. How many MACs does it do for one image?

# %% exercise="conv_macs" points=1
### BEGIN SOLUTION
conv_macs = 64 * 32 * 3 * 3 * 16 * 16
### END SOLUTION

# %% check="conv_macs"
lab.check(checks.conv_macs, conv_macs, filters=64, inputs=32, kernel=3, side=16)

# %% [markdown] hint="conv_macs"
# Count the weights first. Then ask how often each is used.

# %% [markdown]
# **Exercise 2.** *Easy, 5 minutes.* Which network in `sizes` does most multiply-adds for each of its parameters? Give its name.

# %% exercise="busiest" points=1
### BEGIN SOLUTION
busiest = max(sizes, key=lambda name: sizes[name].macs / sizes[name].params)
### END SOLUTION

# %% check="busiest"
lab.check(checks.busiest, busiest, sizes)

# %% [markdown] hint="busiest"
# `sizes[name].macs` and `sizes[name].params` are the numbers of the table in section 3.

# %% [markdown] more="busiest"
# Layers that append few channels to many have few weights, and each dense block keeps its map large for many layers.

# %% [markdown]
# **Exercise 3.** *Medium, 15 minutes.* Write a function that gives the parameters and the MACs of any `torch.nn.Conv2d` without running it, for a square image of `side` pixels. Mind the bias, the stride, the padding and the groups. Kernels are square.

# %% exercise="conv_cost" points=2
def conv_cost(layer, side):
    ### BEGIN SOLUTION
    params = sum(values.numel() for values in layer.parameters())
    free = side + 2 * layer.padding[0] - layer.kernel_size[0]
    places = (free // layer.stride[0] + 1) ** 2
    return params, layer.weight.numel() * places
    ### END SOLUTION

# %% check="conv_cost"
lab.check(checks.conv_cost, conv_cost)

# %% [markdown] hint="conv_cost"
# The kernel fits at `(side + 2 * padding - kernel) // stride + 1` places along each side. With groups, look at the shape of `layer.weight`: its second number is the inputs of one group.

# %% [markdown]
# **Exercise 4.** *Medium, 10 minutes.* In `times`, the table behind the figure of section 6: how many images a second do the pruned networks take in batches of 64? `latency` is in milliseconds for the whole batch; take its mean over the seeds first.

# %% exercise="throughput" points=2
### BEGIN SOLUTION
rows = times[times["batch"] == 64].groupby("network")["latency"].mean()
throughput = 64 / (rows["pruned"] / 1000)
### END SOLUTION

# %% check="throughput"
lab.check(checks.throughput, throughput, times, batch=64)

# %% [markdown] hint="throughput"
# Keep the rows of that batch and take the mean latency of the pruned networks. A second has 1000 milliseconds.

# %% [markdown]
# ## 11. Where to go next
#
# [02 · L1-norm](02_l1_norm.ipynb) prunes by the simplest criterion. [12 · Architecture patterns](12_architecture_patterns.ipynb) looks at which layers automatic methods cut. [15 · Your own model and data](15_your_own_model_and_data.ipynb) asks all this of a network of yours. Before this one comes [00 · Start here](00_start_here.ipynb).

# %% [markdown]
# ## References
#
# - Z. Liu, M. Sun, T. Zhou, G. Huang, T. Darrell. Rethinking the value of network pruning. ICLR 2019. [doi:10.48550/arXiv.1810.05270](https://doi.org/10.48550/arXiv.1810.05270)
# - K. Simonyan, A. Zisserman. Very deep convolutional networks for large-scale image recognition. ICLR 2015. [doi:10.48550/arXiv.1409.1556](https://doi.org/10.48550/arXiv.1409.1556)
# - K. He, X. Zhang, S. Ren, J. Sun. Deep residual learning for image recognition. CVPR 2016. [doi:10.48550/arXiv.1512.03385](https://doi.org/10.48550/arXiv.1512.03385)
# - K. He, X. Zhang, S. Ren, J. Sun. Identity mappings in deep residual networks. ECCV 2016. [doi:10.48550/arXiv.1603.05027](https://doi.org/10.48550/arXiv.1603.05027)
# - G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger. Densely connected convolutional networks. CVPR 2017. [doi:10.48550/arXiv.1608.06993](https://doi.org/10.48550/arXiv.1608.06993)
# - H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf. Pruning filters for efficient ConvNets. ICLR 2017. [doi:10.48550/arXiv.1608.08710](https://doi.org/10.48550/arXiv.1608.08710)
