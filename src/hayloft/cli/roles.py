"""The roles of a cluster, each with a command of its own and a flag for each of its settings.

Imported only when one of them is looked at, because the settings take a while to load.
"""

from __future__ import annotations

from functools import partial
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
    from hayloft.assembly import services
    from hayloft.assembly.settings import SETTINGS

    return with_flags(role, SETTINGS[role], partial(services.main, role), text=ROLES[role] + _MORE)
