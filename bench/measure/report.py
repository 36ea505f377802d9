"""The results for people and programs: a Markdown table, the same as JSON, and one picture of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure.result import Measurement, PartResult, Verdict


def markdown(
    machine: dict[str, str], parts: Sequence[PartResult], *, command: str, about: Sequence[str]
) -> str:
    """The whole report: targets first, then what was measured, then the machine."""
    lines = [f"# Results of `{command}`", "", *about, "", "## Targets", ""]
    held = [verdict for part in parts for verdict in part.verdicts if verdict.target is not None]
    lines += _table(_TARGET_COLUMNS, [_verdict_row(verdict) for verdict in held])
    for part in parts:
        lines += ["", f"## {part.title}", ""]
        if part.verdicts:
            lines += [*_table(_TARGET_COLUMNS, [_verdict_row(verdict) for verdict in part.verdicts]), ""]
        if part.measurements:
            lines += _table(_MEASUREMENT_COLUMNS, [_measurement_row(one) for one in part.measurements])
        if part.notes:
            lines += ["", *(f"- {note}" for note in part.notes)]
    lines += ["", "## The machine", "", *_table(("", ""), list(machine.items())), ""]
    return "\n".join(lines)


_TARGET_COLUMNS = ("what", "value", "rounds", "target", "outcome", "how")
_MEASUREMENT_COLUMNS = (
    "what",
    "contender",
    "median",
    "rounds",
    "unit",
    "p50 ms",
    "p99 ms",
    "CPU µs/request",
    "wrk CPU",
)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---" for _ in columns) + " |",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def _verdict_row(verdict: Verdict) -> list[str]:
    return [
        verdict.what,
        f"{_number(verdict.value)} {verdict.unit}".strip(),
        _spread(verdict.rounds),
        str(verdict.target or "–"),
        verdict.outcome,
        verdict.how,
    ]


def _measurement_row(one: Measurement) -> list[str]:
    extra = one.extra
    return [
        one.what,
        one.contender,
        _number(one.median),
        _spread(one.rounds),
        one.unit,
        _number(extra["p50_ms"]) if "p50_ms" in extra else "",
        _number(extra["p99_ms"]) if "p99_ms" in extra else "",
        _number(extra["server_cpu_us"]) if "server_cpu_us" in extra else "",
        f"{extra['generator_cpu_share']:.0%}" if "generator_cpu_share" in extra else "",
    ]


def _spread(rounds: Sequence[float]) -> str:
    if len(rounds) < 2:
        return ""
    return f"{_number(min(rounds))} … {_number(max(rounds))} ({len(rounds)})"


def _number(value: float) -> str:
    """Three figures are all that such a measurement carries; whole numbers from a hundred on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_json(machine: dict[str, str], parts: Sequence[PartResult], *, options: dict[str, Any]) -> str:
    """Everything, every round included."""
    return json.dumps(
        {
            "machine": machine,
            "options": options,
            "parts": [
                {
                    **dataclasses.asdict(part),
                    "verdicts": [
                        {**dataclasses.asdict(verdict), "outcome": verdict.outcome.strip("*")}
                        for verdict in part.verdicts
                    ],
                    "measurements": [
                        {**dataclasses.asdict(one), "median": one.median} for one in part.measurements
                    ],
                }
                for part in parts
            ],
        },
        indent=1,
        ensure_ascii=False,
    )


def write(
    directory: Path,
    machine: dict[str, str],
    parts: Sequence[PartResult],
    *,
    command: str,
    about: Sequence[str],
    options: dict[str, Any],
) -> None:
    """Write ``results.md``, ``results.json`` and, where there is something to draw, ``results.png``."""
    from measure import plot  # matplotlib takes a second to load; only the end of a run needs it

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.md").write_text(markdown(machine, parts, command=command, about=about))
    (directory / "results.json").write_text(as_json(machine, parts, options=options) + "\n")
    plot.draw(directory / "results.png", parts)
