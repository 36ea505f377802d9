"""One picture: on the left how far every target is kept, on the right the paper's workloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from measure.result import Measurement, PartResult, Verdict

_HIT = "#2a7f62"
_MISSED = "#c0392b"
_COLOURS = {"hayloft": "#2a7f62", "nginx": "#7f8c8d", "raw device": "#c9a227"}
_WRITES = "#8ecbb2"
_BESIDE_LINE = 0.3
"""Bars longer than this have their words right of the line at 1."""
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}


def draw(file: Path, parts: Sequence[PartResult]) -> None:
    """Draw what there is; a run without targets and without workloads has no picture."""
    verdicts = [one for part in parts for one in part.verdicts if one.target is not None]
    workloads = [one for part in parts if part.part == "paper" for one in part.measurements]
    panels: list[Callable[[Axes], None]] = []
    if verdicts:
        panels.append(partial(_targets, verdicts=verdicts))
    if workloads:
        panels.append(partial(_workloads, measurements=workloads))
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(9 * len(panels), 7), squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        panel(axis)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _margin(verdict: Verdict) -> float:
    """How many times over a target is kept: 1 is just."""
    assert verdict.target is not None
    if verdict.target.side == "at least":
        return verdict.value / verdict.target.bound
    # Nothing is better than nothing at all: what is next to zero is drawn as kept four times over.
    return min(verdict.target.bound / max(verdict.value, 1e-9), 4.0)


def _targets(axis: Axes, verdicts: Sequence[Verdict]) -> None:
    margins = [_margin(verdict) for verdict in verdicts]
    colours = [_HIT if margin >= 1 else _MISSED for margin in margins]
    places = range(len(verdicts))
    axis.barh(places, margins, color=colours, height=0.62)
    axis.axvline(1, color="black", linewidth=1)
    labels = [verdict.what for verdict in verdicts]
    axis.set_yticks(places, labels, fontsize=9)
    axis.invert_yaxis()
    for place, verdict, margin in zip(places, verdicts, margins, strict=True):
        text = f"{verdict.value:.3g}{(' ' + verdict.unit).rstrip()} ({verdict.target})"
        # To the right of the line at 1 as well, so that the line never runs through the words.
        left = max(margin, 1) if margin > _BESIDE_LINE else margin
        axis.text(left + 0.04, place, text, va="center", fontsize=9, bbox=_PLATE)
    axis.set_xlim(0, max(max(margins), 1) * 1.45)
    axis.set_xlabel("times the target is kept (1 = just)")
    axis.set_title("Targets", loc="left")
    axis.spines[["top", "right"]].set_visible(False)


def _workloads(axis: Axes, measurements: Sequence[Measurement]) -> None:
    """Images per second, grouped by workload; a mix has a bar for its reads and one for its writes."""
    workloads = sorted({one.what[0] for one in measurements})
    seen: set[str] = set()
    for place, workload in enumerate(workloads):
        mine = [one for one in measurements if one.what[0] == workload]
        mine.sort(key=lambda one: (list(_COLOURS).index(one.contender), one.what))
        width = 0.8 / max(len(mine), 3)
        for number, one in enumerate(mine):
            written = one.what.endswith(", writes")
            label = "hayloft, images written in a mix" if written else one.contender
            at = place + (number - (len(mine) - 1) / 2) * width
            colour = _WRITES if written else _COLOURS[one.contender]
            axis.bar(at, one.median, width * 0.94, color=colour, label=None if label in seen else label)
            axis.annotate(_short(one.median), (at, one.median), ha="center", va="bottom", fontsize=7)
            seen.add(label)
    axis.set_xticks(range(len(workloads)), [_caption(workload) for workload in workloads], fontsize=9)
    axis.set_yscale("log")
    axis.set_ylabel("images per second (logarithmic)")
    axis.set_title("The paper's workloads (Table 4), one worker, 32 connections", loc="left")
    axis.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    axis.set_ylim(top=axis.get_ylim()[1] * 4)
    axis.spines[["top", "right"]].set_visible(False)


def _short(value: float) -> str:
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def _caption(workload: str) -> str:
    captions = {
        "A": "A\nreads\n64 KB",
        "B": "B\nreads\n70 % 8 KB",
        "C": "C\nwrites\nof 1",
        "D": "D\nwrites\nof 4",
        "E": "E\nwrites\nof 16",
        "F": "F\n98 % reads\n2 % writes",
        "G": "G\n96 % reads\n4 % writes",
    }
    return captions.get(workload, workload)
