"""``hayloft reference settings``: docs/SETTINGS.md, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

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


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    title = ""
    for flag in flags():
        section = flag.path[0] if len(flag.path) > 1 else "The server"
        if section != title:
            title = section
            heading = title if len(flag.path) == 1 else f"[{title}]"
            parts.append(f"\n## {heading}\n\n| in the file | in the environment | default | meaning |")
            parts.append("| --- | --- | --- | --- |")
        parts.append("".join(_row(flag)))
    return "\n".join(parts) + "\n"


def _row(flag: Flag) -> Iterator[str]:
    meaning = " ".join((flag.field.description or "").split()).replace("``", "`").replace("|", "\\|")
    yield f"| `{flag.path[-1]}` | `{flag.variable}` | {_default(flag)} | {meaning} |"


def _default(flag: Flag) -> str:
    if flag.field.default_factory is not None:
        return "the cores, at most 4" if flag.key == "workers" else ""
    default = flag.field.default
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if "bytes" in flag.path[-1]:
        return f"`{default}` ({bytes_text(int(default))})"
    return f"`{default}`"
