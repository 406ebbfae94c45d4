"""Figure of `sampler_accuracy`: error against evaluations, ours in colour, the peers in grey."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {
    "Adams 4, tapered": "#0b5fa5",
    "Adams 5, tapered to 6": "#5aa9e6",
    "Adams-Bashforth 2": "#12805c",
    "Runge-Kutta 4, tapered": "#8a4fbf",
    "Heun": "#d1495b",
    "DPM-Solver++ 2M, tapered": "#b07d12",
    "DDIM": "#e07a2f",
    "ancestral, lower variance": "#7a4a2a",
}
PEERS = {
    "diffusers UniPC 3, uniform log-SNR": (0, (1, 1)),
    "diffusers DPM-Solver++ 2M": (0, (4, 1.5)),
    "diffusers DEIS 3": (0, (4, 1.5, 1, 1.5)),
    "k-diffusion DPM-Solver++ 2M, uniform log-SNR": (0, (2, 2, 6, 2)),
    "azula vAB 3": (0, (7, 2)),
    "azula xEAB 3": "solid",
}
TITLES = {
    "reference": "Six correlated dimensions\n(variances 0.07 to 4.7)",
    "rain-like": "Variances as in sequences of rain\n($10^{-4}$ to $10^{4}$)",
}


def draw(tables, path):
    """Draw the error of the covariance for every problem in `tables`."""
    fig, axes = plt.subplots(1, len(tables), figsize=(11, 5.2), sharey=True, layout="constrained")
    for ax, (problem, table) in zip(axes, tables.items(), strict=True):
        for name, style in PEERS.items():
            if name in table:
                _line(ax, table[name], label=name, color="0.55", ls=style, lw=1.4)
        for name, colour in COLOURS.items():
            _line(ax, table[name], label=name, color=colour, lw=2, marker="o", ms=3)
        ax.axvline(20, color="0.8", lw=1, zorder=0)
        ax.axhline(3e-3, color="0.8", lw=1, zorder=0)
        ax.text(1150, 2.5e-3, "0.3 %", ha="right", va="top", color="0.45", fontsize=8)
        ax.set(xscale="log", yscale="log", xlim=(8, 1200), ylim=(1e-7, 3))
        ax.set_xticks([10, 20, 50, 100, 200, 500, 1000], [10, 20, 50, 100, 200, 500, 1000])
        ax.minorticks_off()
        ax.set_title(TITLES[problem], fontsize=11, loc="left")
        ax.set_xlabel("evaluations of the denoiser")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("relative error of the covariance of samples")
    handles, labels = axes[0].get_legend_handles_labels()
    order = [*range(len(labels) - len(COLOURS), len(labels)), *range(len(labels) - len(COLOURS))]
    fig.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside right center",
        frameon=False,
        fontsize=9,
    )
    fig.savefig(path, dpi=130)
    plt.close(fig)


def _line(ax, rows, **style):
    ax.plot([r["evaluations"] for r in rows], [r["covariance"] for r in rows], **style)
