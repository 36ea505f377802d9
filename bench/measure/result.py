"""What a part of the benchmark hands back: measurements, verdicts on targets, notes. Plain values.

A ratio is made from rounds in which both contenders ran one after the other, and is the median of the
rounds' ratios: what disturbs the machine for seconds then disturbs both sides of it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

SampleType = TypeVar("SampleType")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One quantity of one contender, once a round."""

    what: str
    contender: str
    unit: str
    rounds: tuple[float, ...]
    extra: Mapping[str, float] = field(default_factory=dict)
    """Medians of what was measured along with it: latencies, processor time."""

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bound, and on which side of it the good values are."""

    bound: float
    side: Literal["at least", "at most"]

    def hit(self, value: float) -> bool:
        """Whether the value keeps to it."""
        return value >= self.bound if self.side == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.side == 'at least' else '≤'} {self.bound:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One row of the table: a value, how it spread over the rounds, and its target if it has one."""

    what: str
    value: float
    unit: str
    rounds: tuple[float, ...]
    how: str
    target: Target | None = None

    @property
    def outcome(self) -> str:
        if self.target is None:
            return "–"
        return "hit" if self.target.hit(self.value) else "**missed**"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """Everything that one part found."""

    part: str
    title: str
    measurements: tuple[Measurement, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


def interleave(
    contenders: Mapping[str, Callable[[], SampleType]],
    *,
    rounds: int,
    progress: Callable[[str], None],
) -> dict[str, list[SampleType]]:
    """Run every contender once a round, in an order that turns round from one round to the next."""
    samples: dict[str, list[SampleType]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders) if number % 2 == 0 else list(contenders)[::-1]
        for name in order:
            progress(f"round {number + 1}/{rounds}: {name}")
            samples[name].append(contenders[name]())
    return samples


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, ...]:
    """The rounds' ratios."""
    return tuple(one / other for one, other in zip(numerators, denominators, strict=True))


def ratio_verdict(what: str, rounds: Sequence[float], *, how: str, target: Target | None = None) -> Verdict:
    """The median of the rounds' ratios, held against its target."""
    return Verdict(
        what=what, value=statistics.median(rounds), unit="×", rounds=tuple(rounds), how=how, target=target
    )
