"""What is looked at: the plot of recalls, and sheets of the worst mistakes (which hold the photos)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from similarity.disguises import Picture, fit, write

_CELL = 220


def plot(path: Path, recalls: Mapping[str, Mapping[str, float]]) -> None:
    """Recall by disguise, a line of dots for each method."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(next(iter(recalls.values())))
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(names) + 1.5))
    for (method, values), marker in zip(recalls.items(), "osD^v", strict=False):
        axes.plot([values[name] for name in names], range(len(names)), marker, label=method, alpha=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("recall at 99 % precision")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def sheet(path: Path, mistakes: Sequence[tuple[str, Picture, Picture]]) -> None:
    """Pairs of pictures under a line that says what went wrong, three pairs a row."""
    cells = [_pair(*mistake) for mistake in mistakes]
    if not cells:
        return
    while len(cells) % 3:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[i : i + 3]) for i in range(0, len(cells), 3)]
    cv2.imwrite(str(path), np.vstack(rows))


def _pair(label: str, left: Picture, right: Picture) -> Picture:
    canvas = np.zeros((_CELL + 30, 2 * _CELL + 10, 3), np.uint8)
    for i, picture in enumerate((left, right)):
        small = fit(picture, _CELL)
        canvas[30 : 30 + small.shape[0], i * _CELL : i * _CELL + small.shape[1]] = small
    return write(canvas, label.encode("ascii", "ignore").decode(), 0.01, 0.08, 0.05, (255, 255, 255))
