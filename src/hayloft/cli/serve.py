"""``hayloft serve``: one server on this machine, with a flag for every setting.

Imported only when this command is looked at, because the settings take a while to load.
"""

from __future__ import annotations

from typing import Any, Final

from hayloft.cli.setting_flags import command as with_flags
from hayloft.config import Settings

_HELP: Final = """Start a server on this machine, with everything in it.

It serves until Ctrl-C, which finishes the uploads in flight. Every setting can be given here, as an
environment variable (shown in brackets) or in the file hayloft.toml; that is also the order of precedence.
"""


def command() -> Any:
    """The command, ready to be added to the program."""
    return with_flags("serve", Settings, _serve, text=_HELP)


def _serve(settings: Settings) -> int:
    from hayloft.assembly.serve import serve

    return serve(settings)
