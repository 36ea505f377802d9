"""The command reference has all that there is."""

from __future__ import annotations

import re

from typer.main import get_command

from hayloft.cli.application import app
from hayloft.cli.failure import ExitCode
from hayloft.cli.reference import markdown


def test_it_has_every_command_and_exit_code(hayloft):
    reference = markdown(get_command(app))
    for command in re.findall(r"^│ ([a-z]+) ", hayloft("--help").out, re.MULTILINE):
        assert f"## hayloft {command}" in reference
    for code in ExitCode:
        assert f"| {int(code)} | {code.text} |" in reference


def test_a_choice_of_arguments_stays_in_its_cell(hayloft):
    assert "| `same\\|different\\|none` |" in markdown(get_command(app))
