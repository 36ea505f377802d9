"""``hayloft reference`` (hidden): the pages of docs/ that are made from what they describe.

``commands`` is docs/CLI.md, made here from the commands themselves; ``http`` is docs/HTTP.md and
``settings`` docs/SETTINGS.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from hayloft.cli.commands import add
from hayloft.cli.failure import ExitCode

HEAD: Final = """# The command line

<!-- Made from the commands themselves by: hayloft reference > docs/CLI.md -->

`hayloft COMMAND --help` shows the same. Answers go to standard output: tables for people, or with `--json`
one object, for lists one object a line. Progress and complaints go to standard error, so `--json` output
can be piped anywhere. `hayloft --install-completion` makes the shell complete commands and options.

Commands that talk to a server find it with `--url` or `HAYLOFT_URL`, and show their key with `--api-key` or
`HAYLOFT_API_KEY`. `python -m hayloft` is the same as `hayloft`.
"""


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "reference", reference, hidden=True)


class Page(StrEnum):
    """Which page."""

    COMMANDS = "commands"
    HTTP = "http"
    SETTINGS = "settings"


def reference(
    context: typer.Context, page: Annotated[Page, typer.Argument(help="Which page.")] = Page.COMMANDS
) -> None:
    """Print a page of the reference as Markdown."""
    sys.stdout.write(page_text(page, context.find_root().command))


def page_text(page: Page, program: Any) -> str:
    """One page, as it stands in docs/; ``program`` is the group of all commands."""
    if page is Page.HTTP:
        from hayloft.gateway import reference as http

        return http.markdown()
    if page is Page.SETTINGS:
        from hayloft.cli import settings_reference

        return settings_reference.markdown()
    return markdown(program)


def markdown(program: Any) -> str:
    """The command reference of a group of commands."""
    shown = list(_shown(program, typer.Context(program, info_name="hayloft")))
    return "\n".join([HEAD, *_index(shown), *_exit_codes(), *_sections(shown)])


def _shown(group: Any, context: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A group's commands with their names, those of groups in it after what the group itself does."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command.hidden:
            continue
        if not command.no_args_is_help:
            yield prefix + name, command
        if hasattr(command, "list_commands"):
            inner = typer.Context(command, info_name=name, parent=context)
            yield from _shown(command, inner, f"{prefix}{name} ")


def _index(commands: list[tuple[str, Any]]) -> Iterator[str]:
    yield "| command | what it does |\n| --- | --- |"
    for name, command in commands:
        anchor = name.replace(" ", "-")
        yield f"| [`{name}`](#hayloft-{anchor}) | {_cell(command.help.partition(chr(10))[0])} |"
    yield ""


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes\n\n| code | what happened |\n| --- | --- |"
    for code, text in exit_code_texts():
        yield f"| {int(code)} | {_cell(text)} |"
    yield ""


def exit_code_texts() -> list[tuple[ExitCode, str]]:
    """What each exit code says."""
    return [(code, code.text) for code in ExitCode]


def _sections(commands: list[tuple[str, Any]]) -> Iterator[str]:
    for name, command in commands:
        yield f"## hayloft {name}\n\n{_usage(name, command)}\n\n{command.help}\n"
        rows = [row for parameter in command.params for row in _rows(parameter)]
        if rows:
            yield "| argument or option | what it is | default |\n| --- | --- | --- |"
            yield from rows
            yield ""


def _usage(name: str, command: Any) -> str:
    arguments = [_metavar(each) for each in command.params if each.param_type_name == "argument"]
    return "`" + " ".join(["hayloft", name, "[OPTIONS]", *arguments]) + "`"


def _rows(parameter: Any) -> Iterator[str]:
    if parameter.param_type_name == "argument":
        yield f"| `{_cell(_metavar(parameter))}` | {_cell(parameter.help or '')} | |"
    elif not parameter.hidden:
        spelling = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
        variable = f" Environment: `{parameter.envvar}`." if parameter.envvar else ""
        yield f"| {spelling} | {_cell(parameter.help or '')}{variable} | {_default(parameter)} |"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _default(option: Any) -> str:
    if option.default in (None, False) or callable(option.default) or not option.show_default:
        return ""
    return f"`{getattr(option.default, 'value', option.default)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
