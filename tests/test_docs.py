"""The documentation has everything that there is, and names nothing that there is not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hayloft.assembly.settings import SETTINGS, ClusterSettings
from hayloft.cli.application import app
from hayloft.cli.reference import Page, page_text
from hayloft.cli.setting_flags import Flag, flags
from hayloft.clock import SystemClock
from hayloft.config import Settings
from hayloft.errors import ERRORS_BY_CODE
from hayloft.gateway.metrics import Metrics
from hayloft.gateway.reference import openapi
from hayloft.pitchfork.journal import Journal
from hayloft.types import DirectoryStatistics, StoreHealth, StoreId

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
OWN_VARIABLES = {"HAYLOFT_URL", "HAYLOFT_API_KEY", "HAYLOFT_CONFIG", "HAYLOFT_PUBLISH"}
"""Variables that are no settings of a server."""


def page(name: str) -> str:
    return (DOCS / name).read_text()


@pytest.mark.parametrize(
    ("name", "which"),
    [("CLI.md", Page.COMMANDS), ("HTTP.md", Page.HTTP), ("SETTINGS.md", Page.SETTINGS)],
)
def test_pages_that_are_made_are_fresh(name, which):
    assert page(name) == page_text(which, typer.main.get_command(app)), (
        f"run: hayloft reference {which} > docs/{name}"
    )


def all_flags() -> list[Flag]:
    return [flag for kind in (Settings, ClusterSettings, *SETTINGS.values()) for flag in flags(kind)]


def test_every_setting_is_there():
    for flag in all_flags():
        assert f"`{flag.variable}`" in page("SETTINGS.md")
        assert flag.field.description


def test_every_endpoint_is_there():
    text = page("HTTP.md")
    for path, methods in openapi()["paths"].items():
        for method in methods:
            assert re.search(rf"^### .*\b{method.upper()}\b.* {re.escape(path)}$", text, re.MULTILINE)


def test_every_error_is_there_with_its_status():
    rows = re.findall(r'^\| <a id="(\w+)"></a>`(\w+)` \| (\d{3}) \|', page("ERRORS.md"), re.MULTILINE)
    assert all(anchor == code for anchor, code, _status in rows)
    told = {code: int(status) for _anchor, code, status in rows}
    assert told == {code: kind.status for code, kind in ERRORS_BY_CODE.items()}


def test_every_metric_is_there_and_no_other(monkeypatch):
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = Metrics()
    metrics.replica_failed("local", "needle_corrupt")
    statistics = DirectoryStatistics(
        photos=0, deleted=0, bytes=0, volumes=0, writable_volumes=0, last_event=0
    )
    health = StoreHealth(store=StoreId("local"), volumes=(), free_bytes=0, capacity_bytes=0)
    rendered = metrics.render(statistics, [health]).decode()
    rendered += generate_latest(Journal(SystemClock()).registry).decode()
    families = text_string_to_metric_families(rendered)
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    names = {name for name in names if not name.endswith("_created")}
    assert names == set(re.findall(r"`(hayloft_\w+)`", page("OPERATIONS.md")))


# What is named, exists ---------------------------------------------------------------------------


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(file.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _hash, anchor = target.partition("#")
        other = file.parent / path if path else file
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other.read_text()), target


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_commands_and_their_options_exist(file):
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="hayloft")
    for line in command_lines(file.read_text()):
        name = line[1]
        if name.startswith("-"):
            continue
        command = group.get_command(context, name)
        assert command is not None, line
        if len(line) > 2 and hasattr(command, "commands") and not line[2].startswith("-"):
            inner = command.get_command(typer.Context(command, info_name=name), line[2])
            assert inner is not None or command.invoke_without_command, line
            command = inner or command
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        given = {word.partition("=")[0] for word in line[2:] if word.startswith("-")}
        assert given <= {*known, "--help", "-h"}, line


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_settings_that_are_named_exist(file):
    text = file.read_text()
    sections = {flag.path[0] for flag in all_flags() if len(flag.path) > 1}
    named = re.findall(rf"`((?:{'|'.join(sections)})\.[a-z_]+)`", text)
    assert set(named) <= {flag.key for flag in all_flags()} | {f"{name}.sqlite" for name in sections}
    variables = set(re.findall(r"\bHAYLOFT_[A-Z_]+\b", text))
    of_roles = {flag.variable for kind in (*SETTINGS.values(), ClusterSettings) for flag in flags(kind)}
    assert variables <= {flag.variable for flag in all_flags()} | of_roles | OWN_VARIABLES


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that links may lead to: of headings, as Markdown makes them, and given ones."""
    headings = re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def command_lines(text: str) -> Iterator[list[str]]:
    """What is typed at a shell after ``hayloft``, also in running text."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`((?:[A-Z_]+=\S+ )*hayloft [a-z][^`]*)`", without_code(text))
    for line in [*"\n".join(blocks).splitlines(), *inline]:
        for part in re.split(r"&&|\|(?!\|)|;", line.partition(" #")[0].removeprefix("$ ")):
            words = shlex.split(part) if part.count("'") % 2 == 0 == part.count('"') % 2 else part.split()
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if len(words) > 1 and words[0] == "hayloft":
                yield words
