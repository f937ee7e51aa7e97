"""Growth plot: memory and descriptors over the calls of a soak."""

from pathlib import Path

from loadtest.plots import BLUE, GREY
from loadtest.resources import ALL, Sampled

_COLOURS = ("#c77700", "#3f7d3e", "#7a4fa3", "#2a8c8c", "#c2608f", GREY)


def draw_growth(path: Path, sampled: Sampled, *, warm: int) -> None:
    """By how many MB, and how many descriptors, each service differs from its first sample."""
    from matplotlib import figure  # heavy: only those who draw pay for it

    picture = figure.Figure(figsize=(9.0, 3.4), dpi=90, layout="constrained")
    left, right = picture.subplots(1, 2)
    colours = dict(zip(sampled.services[:-1], _COLOURS, strict=False)) | {ALL: BLUE}
    for service in sampled.services:
        memory = sampled.column(service, "rss_bytes") / 1e6
        width = 1.8 if service == ALL else 1.0
        colour = colours.get(service, GREY)
        left.plot(sampled.calls, memory - memory[0], label=service, color=colour, linewidth=width)
        descriptors = sampled.column(service, "descriptors")
        right.plot(sampled.calls, descriptors - descriptors[0], color=colour, linewidth=width)
    left.set_title("resident memory beside its first sample, MB", size=10)
    right.set_title("open descriptors, likewise", size=10)
    left.legend(fontsize=7)
    for axes in (left, right):
        axes.axvline(warm, color=GREY, linewidth=1.0, linestyle="--")  # judged from here on
        axes.set_xlabel("lists")
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path)
