"""What ``hayloft cluster up`` shows: lines of what changed, and a table on a terminal, to the very end."""

from __future__ import annotations

import io
import re

import pytest

from hayloft.assembly.machine.watching import Condition, Observation, Part, ending
from hayloft.cli.cluster import Display

READY, STOPPING = Condition.READY, Condition.STOPPING


def part(name: str, pid: int | None = 1) -> Part:
    address = f"http://{name}"
    return Part(name=name, command=name, address=address, pid=pid, started_at_ms=0, restarts=0)


def seen(**conditions: Condition) -> list[Observation]:
    return [
        Observation(part=part(name), condition=condition, says="") for name, condition in conditions.items()
    ]


ITS_END = (
    seen(postgres=READY, gateway=READY),
    seen(postgres=Condition.RUNNING, gateway=STOPPING),
    seen(postgres=Condition.RUNNING, gateway=STOPPING),
    seen(postgres=STOPPING, gateway=Condition.STOPPED),
    seen(postgres=Condition.STOPPED, gateway=Condition.STOPPED),
)
STOPS = "Stopping; another Ctrl-C ends at once what is still running."
HAS_STOPPED = "The cluster has stopped; its data is in d."


def show(*all_observations: list[Observation]) -> None:
    display = Display("d")
    with display:
        for observations in all_observations:
            display.show(observations)


def test_its_end_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    show(*ITS_END)
    assert capsys.readouterr().out.splitlines()[3:] == [
        STOPS,
        "gateway http://gateway stopping",
        "postgres http://postgres stopping",
        "gateway http://gateway stopped",
        "postgres http://postgres stopped",
        HAS_STOPPED,
    ]


def test_its_end_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    show(*ITS_END)
    assert "\x1b[" in screen.getvalue()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert shown.count(STOPS) == shown.count(HAS_STOPPED) == 1
    for words in ("postgres http://postgres 1 running", "gateway http://gateway 1 stopping"):
        assert words in " ".join(shown.split())
    last = shown[shown.rindex("role") :]
    assert last.count("stopped") == 2
    assert "running" not in last


def test_how_a_part_is_while_the_cluster_stops() -> None:
    assert ending(part("s1"), told=False).condition is Condition.RUNNING
    assert ending(part("s1"), told=True).condition is STOPPING
    assert ending(part("s1", pid=None), told=True).condition is Condition.STOPPED
