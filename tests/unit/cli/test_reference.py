"""docs/CLI.md is what the commands say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

from hayloft.cli.failure import ExitCode
from hayloft.cli.reference import markdown

DOCS = Path(__file__).parents[3] / "docs"


def test_the_command_reference_is_fresh():
    assert (DOCS / "CLI.md").read_text() == markdown(), "run: hayloft reference > docs/CLI.md"


def test_it_has_every_command_and_exit_code(hayloft):
    reference = markdown()
    for command in re.findall(r"^│ ([a-z]+) ", hayloft("--help").out, re.MULTILINE):
        assert f"## hayloft {command}" in reference
    for code in ExitCode:
        assert f"| {int(code)} | {code.text} |" in reference
