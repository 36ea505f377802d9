"""Commands whose flags are made from settings, so that none is ever missing.

``upload.bytes_max`` is ``--upload-bytes-max`` and ``HAYLOFT_UPLOAD__BYTES_MAX``. A flag that is not given
leaves the setting to the environment, the file and the default. Secrets have no flag: everyone on a machine
can read the command lines of its processes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings
from pydantic_settings.exceptions import SettingsError

from hayloft.cli.failure import Complaint
from hayloft.cli.output import safe, say
from hayloft.cli.variables import unread
from hayloft.config import Settings

_SHORT: Final = {"data": "-d", "host": "-H", "port": "-p", "workers": "-w"}

S = TypeVar("S", bound=BaseSettings)


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

    @property
    def is_secret(self) -> bool:
        """Whether it must not stand on a command line."""
        return _base(self.field.annotation) is SecretStr


def flags(kind: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[Flag]:
    """A flag for every setting, those of the first level first."""
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in kind.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            nested.append((name, annotation))
        else:
            yield Flag(path=(*path, name), field=field)
    for name, inner in nested:
        yield from flags(inner, (*path, name))


def command(name: str, kind: type[S], run: Callable[[S], int], *, text: str) -> Any:
    """The command ``name``, which calls ``run`` with settings of this kind; ``text`` is its help."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    shown = [flag for flag in flags(kind) if not flag.is_secret]

    def carry_out(**given: Any) -> None:
        settings = settings_from(given, kind)
        for variable in unread():
            say(f"hayloft: {safe(variable.text)} {variable.advice}", "yellow")
        code = run(settings)
        if code:
            raise typer.Exit(code)

    carry_out.__doc__ = text
    carry_out.__signature__ = inspect.Signature([_parameter(flag) for flag in shown])  # type: ignore[attr-defined]
    carry_out.__annotations__ = {flag.parameter: _annotation(flag) for flag in shown}
    app.command(name)(carry_out)
    return typer.main.get_command(app)


def settings_from(given: dict[str, Any], kind: type[S]) -> S:
    """Settings from the flags that were given, the environment and the file.

    Raises:
        Complaint: one of them is wrong; says which.
    """
    nested: dict[str, Any] = {}
    for flag in flags(kind):
        value = given.get(flag.parameter)
        if value is None or value == []:
            continue
        inner = nested
        for step in flag.path[:-1]:
            inner = inner.setdefault(step, {})
        inner[flag.path[-1]] = value
    try:
        return kind(**nested)
    except ValidationError as failure:
        first = failure.errors(include_input=False)[0]
        raise _complaint(kind, tuple(str(step) for step in first["loc"]), str(first["msg"])) from None
    except (SettingsError, ValueError, OSError) as failure:
        raise Complaint(f"The settings cannot be read: {failure}.") from None


def _complaint(kind: type[BaseSettings], place: tuple[str, ...], problem: str) -> Complaint:
    flag = next((flag for flag in flags(kind) if flag.path == place[: len(flag.path)]), None)
    name = ".".join(place)
    if flag is not None:
        name = flag.variable if flag.is_secret else f"{flag.option} ({flag.variable})"
    said = problem.removeprefix("Value error, ")
    return Complaint(
        f"{name or 'settings'}: {said[:1].lower()}{said[1:].rstrip('.')}.",
        advice="They are explained by the command's --help",
    )


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
    default = flag.field.default
    if flag.field.is_required():
        return "; must be given"
    if flag.field.default_factory is not None or default in (None, (), ""):
        return ""
    return f"; default {' '.join(default) if isinstance(default, tuple) else default}"


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
