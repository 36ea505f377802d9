"""``hayloft reference settings``: docs/SETTINGS.md, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel

from hayloft.assembly.settings import SETTINGS, ClusterSettings
from hayloft.cli.output import bytes_text
from hayloft.cli.setting_flags import Flag, flags

HEAD: Final = """# Settings

<!-- Made from the settings themselves by: hayloft reference settings > docs/SETTINGS.md -->

Each setting can be given in three places; the first that has it decides:

1. a flag of [`hayloft serve`](CLI.md#hayloft-serve): `--upload-bytes-max 10000000`,
2. the environment: `HAYLOFT_UPLOAD__BYTES_MAX=10000000`,
3. the file `hayloft.toml` in the working directory, or the one that `HAYLOFT_CONFIG` names.

A value that makes no sense is refused at the start. So is a misspelt name in the file, among the flags, or
behind the `__` of a variable. A variable that begins with `HAYLOFT_` and is read by nothing is named at the
start and by `hayloft doctor`, with the setting that comes nearest. In the environment a
list is JSON: `HAYLOFT_API_KEYS='["key one", "key two"]'`; as a flag it is repeated. Commands that talk to a
server read `HAYLOFT_URL` and `HAYLOFT_API_KEY`, which are theirs and not the server's.

## Example

```toml
# hayloft.toml
data = "/var/lib/hayloft"
workers = 4
public_url = "https://photos.example.org"
api_keys = ["key of the shop", "key of the back office"]

[upload]
bytes_max = 33_554_432

[renditions]
strip_gps = true
```"""


CLUSTER_HEAD: Final = """
## The roles of a cluster

The roles' commands (`hayloft store` and so on) and `hayloft cluster up` have the settings above that
concern them, and these. One file serves all roles: what it says to others is skipped. The default of `port`
is each role's own ([OPERATIONS](OPERATIONS.md#a-cluster)). Secrets have no flag, because everyone can read
command lines.

| in the file | in the environment | default | who reads it | meaning |
| --- | --- | --- | --- | --- |"""


def markdown() -> str:
    """The whole page."""
    server = list(flags())
    return "\n".join([HEAD, *_sections(server), CLUSTER_HEAD, *_of_roles(server)]) + "\n"


def _sections(some: Iterable[Flag]) -> Iterator[str]:
    title = ""
    for flag in some:
        section = flag.path[0] if len(flag.path) > 1 else "The server"
        if section != title:
            title = section
            heading = title if len(flag.path) == 1 else f"[{title}]"
            yield f"\n## {heading}\n\n| in the file | in the environment | default | meaning |"
            yield "| --- | --- | --- | --- |"
        yield "".join(_row(flag))


def _of_roles(server: list[Flag]) -> Iterator[str]:
    """What only roles of a cluster, or a whole one, have: single settings in one table, then sections."""
    known = {flag.key for flag in server}
    readers: dict[str, list[str]] = {}
    found: dict[str, Flag] = {}
    kinds: dict[str, type[BaseModel]] = {**SETTINGS, "cluster up": ClusterSettings}
    for command, kind in kinds.items():
        for flag in flags(kind):
            if flag.key not in known:
                readers.setdefault(flag.key, []).append(command)
                found.setdefault(flag.key, flag)
    for key, flag in found.items():
        if len(flag.path) == 1:
            who = "all roles" if set(readers[key]) >= set(SETTINGS) else ", ".join(readers[key])
            yield f"| `{key}` | `{flag.variable}` | {_default(flag)} | {who} | {_meaning(flag)} |"
    yield from _sections(flag for flag in found.values() if len(flag.path) > 1)


def _row(flag: Flag) -> Iterator[str]:
    yield f"| `{flag.path[-1]}` | `{flag.variable}` | {_default(flag)} | {_meaning(flag)} |"


def _meaning(flag: Flag) -> str:
    return " ".join((flag.field.description or "").split()).replace("``", "`").replace("|", "\\|")


def _default(flag: Flag) -> str:
    if flag.field.default_factory is not None:
        return "the cores, at most 4" if flag.key == "workers" else ""
    default = flag.field.default
    if flag.field.is_required() or default is None or default in ((), ""):
        return ""
    if isinstance(default, tuple):
        return ", ".join(f"`{each}`" for each in default)
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if "bytes" in flag.path[-1]:
        return f"`{default}` ({bytes_text(int(default))})"
    return f"`{default}`"
