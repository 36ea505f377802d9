"""A gateway in memory, and the command line run in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from doubles.gateway import threaded_gateway
from hayloft.cli.application import run


@dataclass(frozen=True)
class Ran:
    """What one run of the program left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def gateway(monkeypatch):
    with threaded_gateway() as double:
        monkeypatch.setenv("HAYLOFT_URL", double.url)
        yield double


@pytest.fixture
def hayloft(capsys, monkeypatch):
    """Runs the program with some arguments."""
    monkeypatch.setattr("hayloft.client.transport.Patience.pause", lambda *_: None)

    def call(*arguments: object) -> Ran:
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ran(code=int(ended.value.code or 0), out=printed.out, err=printed.err)

    return call
