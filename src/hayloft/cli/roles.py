"""The roles of a cluster, each with a command of its own and a flag for each of its settings.

Imported only when one of them is looked at, because the settings take a while to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from hayloft.cli.role_names import ROLES
from hayloft.cli.setting_flags import command as with_flags

_MORE: Final = """

It serves until Ctrl-C. Every setting can be given here, as an environment variable (shown in brackets) or
in the file hayloft.toml; that is also the order of precedence. The cluster's secret is given as
HAYLOFT_SECRET or in a file, addresses with passwords as environment variables. `hayloft cluster up` starts
all roles on one machine.
"""


def command(role: str) -> Any:
    """A role's command, ready to be added to the program."""
    from hayloft.assembly.settings import SETTINGS

    def run(settings: Any) -> int:
        code: int = import_module(f"hayloft.assembly.services.{role}").main(settings)
        return code

    return with_flags(role, SETTINGS[role], run, text=ROLES[role] + _MORE)
