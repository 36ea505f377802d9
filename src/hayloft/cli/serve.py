"""``hayloft serve``: one server on this machine, with a flag for every setting.

The flags are made from ``Settings``, so that none is ever missing: ``upload.bytes_max`` is
``--upload-bytes-max``. A flag that is not given leaves the setting to the environment, the file and the
default. Imported only when this command is looked at, because the settings take a while to load.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, get_args, get_origin

import typer
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings.exceptions import SettingsError

from hayloft.cli.failure import Complaint
from hayloft.config import Settings

_SHORT: Final = {"data": "-d", "host": "-H", "port": "-p", "workers": "-w"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One setting, and how it is written in each of the three places."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def parameter(self) -> str:
        """As a Python name: ``upload_bytes_max``."""
        return "_".join(self.path)

    @property
    def option(self) -> str:
        """On the command line: ``--upload-bytes-max``."""
        return "--" + self.parameter.replace("_", "-")

    @property
    def variable(self) -> str:
        """In the environment: ``HAYLOFT_UPLOAD__BYTES_MAX``."""
        return "HAYLOFT_" + "__".join(self.path).upper()

    @property
    def key(self) -> str:
        """In the file: ``upload.bytes_max``."""
        return ".".join(self.path)


def flags(kind: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """A flag for every setting, nested ones included."""
    for name, field in kind.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from flags(nested, (*path, name))
        else:
            yield Flag(path=(*path, name), field=field)


def command() -> Any:
    """The command, ready to be added to the program."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

    def serve(**given: Any) -> None:
        _serve(given)

    serve.__doc__ = _HELP
    serve.__signature__ = inspect.Signature([_parameter(flag) for flag in flags()])  # type: ignore[attr-defined]
    serve.__annotations__ = {flag.parameter: _annotation(flag) for flag in flags()}
    app.command("serve")(serve)
    return typer.main.get_command(app)


_HELP: Final = """Start a server on this machine, with everything in it.

It serves until Ctrl-C, which finishes the uploads in flight. Every setting can be given here, as an
environment variable (shown in brackets) or in the file hayloft.toml; that is also the order of precedence.
"""


def settings_from(given: dict[str, Any]) -> Settings:
    """Settings from the flags that were given, the environment and the file.

    Raises:
        Complaint: one of them is wrong; says which.
    """
    nested: dict[str, Any] = {}
    for flag in flags():
        value = given.get(flag.parameter)
        if value is None or value == []:
            continue
        inner = nested
        for step in flag.path[:-1]:
            inner = inner.setdefault(step, {})
        inner[flag.path[-1]] = value
    try:
        return Settings(**nested)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise _complaint(tuple(str(step) for step in first["loc"]), str(first["msg"])) from None
    except (SettingsError, ValueError, OSError) as failure:
        raise Complaint(f"The settings cannot be read: {failure}.") from None


def _serve(given: dict[str, Any]) -> None:
    settings = settings_from(given)
    from hayloft.assembly.serve import serve

    code = serve(settings)
    if code:
        raise typer.Exit(code)


def _complaint(place: tuple[str, ...], problem: str) -> Complaint:
    flag = next((flag for flag in flags() if flag.path == place[: len(flag.path)]), None)
    name = f"{flag.option} ({flag.variable})" if flag else ".".join(place)
    said = problem[:1].lower() + problem[1:]
    return Complaint(f"{name or 'settings'}: {said}.", advice="They are explained by: hayloft serve --help")


def _parameter(flag: Flag) -> inspect.Parameter:
    names = [flag.option, *([_SHORT[flag.key]] if flag.key in _SHORT else [])]
    if _base(flag.field.annotation) is bool:
        names[0] += f"/--no-{flag.option[2:]}"
    option = typer.Option(None, *names, help=_help(flag), show_default=False)
    return inspect.Parameter(
        flag.parameter, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=_annotation(flag)
    )


def _help(flag: Flag) -> str:
    text = " ".join((flag.field.description or "").split())
    return f"{text} [{flag.variable}{_default_text(flag)}]"


def _default_text(flag: Flag) -> str:
    if flag.field.default_factory is not None or flag.field.default in (None, ()):
        return ""
    return f"; default {flag.field.default}"


def _annotation(flag: Flag) -> Any:
    kind = _base(flag.field.annotation)
    return list[str] | None if kind is tuple else kind | None


def _base(annotation: Any) -> Any:
    """The type that a flag takes: of ``X | None`` it is ``X``, of a tuple it is ``tuple``."""
    choices = [kind for kind in get_args(annotation) if kind is not type(None)]
    if get_origin(annotation) is tuple:
        return tuple
    if choices and type(None) in get_args(annotation):
        return choices[0]
    return annotation
