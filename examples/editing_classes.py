"""Masks, substitutions and moves to the next class: three ways to corrupt a map, and back again.

Above, one map of classes of intensity on its way along each chain, whose cells jump by themselves.
Below, the way back of a row of five cells that know of each other, by their exact probabilities:
how far the law of neighbours is from the truth, by the number of steps and by what a step does with
the noise that there is. Called with a path, it writes the picture there.
"""

import itertools
import sys

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import ListedColormap

from skdiffuse import make_precipitation
from skdiffuse.corruptions import (
    CLASS_NAMES,
    ExactClassDenoiser,
    MaskingChain,
    OrdinalChain,
    SubstitutionChain,
    intensity_classes,
)
from skdiffuse.corruptions.categorical import draw_states

CHAINS = {"masking": MaskingChain, "substitution": SubstitutionChain, "ordinal": OrdinalChain}
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
STEPS = (2, 4, 8, 16, 32)
N_ROWS = 2000
COLOURS = ["#f1efe8", "#c6dbef", "#6baed6", "#2171b5", "#f4a742", "#b2182b", "#8a8a8a"]

generator = torch.Generator().manual_seed(0)


def normal(*shape):
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator)


# Dry, light or heavy cells in a row, each mostly as the one before.
stay = torch.tensor([[0.8, 0.15, 0.05], [0.3, 0.6, 0.1], [0.1, 0.4, 0.5]]).double()
first = torch.linalg.matrix_power(stay, 50)[0]
patterns = torch.tensor(list(itertools.product(range(3), repeat=5)))
law = first[patterns[:, 0]] * stay[patterns[:, :-1], patterns[:, 1:]].prod(-1)
truth = first[:, None] * stay


def neighbours(rows):
    """How often each pair of classes stands side by side."""
    pairs = (3 * rows[:, :-1] + rows[:, 1:]).flatten()
    return torch.bincount(pairs, minlength=9).reshape(3, 3) / pairs.numel()


def error_of(chain, rule, n_steps):
    """Of the law of neighbours, in total variation, after a way back in so many steps."""
    denoiser = ExactClassDenoiser(patterns, law, chain)
    states = chain.begin(normal(N_ROWS, 5))
    for now, then in itertools.pairwise(torch.linspace(0, 1, n_steps + 1).double()):
        probabilities = denoiser(states, now).softmax(-1)
        back = chain.law_back(probabilities, states, now, then, rule)
        states = draw_states(back, normal(*states.shape))
    return float((neighbours(states) - truth).abs().sum() / 2)


rain = make_precipitation(60, (32, 32), random_state=3)
wettest = int(rain.mean(("y", "x")).values.argmax())
classes = torch.from_numpy(intensity_classes(rain[wettest].values)).long()[None]
figure = plt.figure(figsize=(8.6, 7), layout="constrained")
maps, below = figure.subfigures(2, 1, height_ratios=(3, 2))
axes = maps.subplots(3, len(SHARES))
for row, (name, chain) in zip(axes, CHAINS.items(), strict=True):
    noise = normal(*classes.shape)
    for axis, share in zip(row, SHARES, strict=True):
        shown = chain(len(CLASS_NAMES)).corrupt(classes, share, noise)[0]
        image = axis.imshow(shown, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=6.5)
        axis.set(xticks=[], yticks=[])
        if name == "masking":
            axis.set_title(f"{share:.0%} survives", fontsize=9)
    row[0].set_ylabel(name)
bar = maps.colorbar(image, ax=axes, ticks=range(7))
bar.ax.set_yticklabels([*CLASS_NAMES, "masked"], fontsize=8)

panels = below.subplots(1, 3, sharey=True)
for panel, (name, chain) in zip(panels, CHAINS.items(), strict=True):
    for rule, style in {"posterior": "o-", "improved": "s--", "naive": "^:"}.items():
        panel.plot(STEPS, [error_of(chain(3), rule, n) for n in STEPS], style, ms=4, label=rule)
    panel.set(xscale="log", yscale="log", xticks=STEPS, xticklabels=STEPS, xlabel="steps")
    panel.minorticks_off()
    panel.set_title(name, fontsize=10)
    panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("error of the law of neighbours")
panels[2].legend(frameon=False, fontsize=8)
figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "editing_classes.png", dpi=75)
