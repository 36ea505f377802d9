"""``hayloft events``: what consumers of the event log could not deal with, why, and another try.

``parked`` asks a server; ``dead`` asks the message broker of a cluster, whose queues keep what their
consumers gave up.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.options import URL, ApiKey, Json, Url
from hayloft.cli.output import console, count_text, print_json, safe, say, table, time_text

if TYPE_CHECKING:
    from hayloft.events.rabbitmq.dead_letters import DeadLetter
    from hayloft.types import ParkedEvent

CONSUMERS: Final = ("similarity", "renditions", "deletes")
"""Who reads the event log of a server that is not a cluster's."""

COLUMNS: Final = ("from", "event", "photo", "times", "since", "next", "why")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(no_args_is_help=True, help="Events that could not be dealt with.")
    add(group, "parked", parked)
    add(group, "dead", dead)
    app.add_typer(group, name="events")


def parked(
    consumer: Annotated[
        list[str] | None,
        typer.Option(help="Who gave up; all of them when not given.", show_default=False),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Have them tried once more.")] = False,
    position: Annotated[
        int | None,
        typer.Option(min=0, help="With --retry: only the event at this position.", show_default=False),
    ] = None,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List what a server's ingest gave up after repeated failures, or have it tried again."""
    with connect(url, api_key) as client:
        names = consumer or list(CONSUMERS)
        if retry:
            _say_retried(sum(client.retry_parked(name, position) for name in names), as_json=as_json)
            return
        found = [(name, one) for name in names for one in client.parked_events(name)]
    _print([_parked_row(name, one) for name, one in found], as_json=as_json)


def dead(
    broker_url: Annotated[
        str,
        typer.Option(envvar="HAYLOFT_BROKER_URL", help="The message broker, amqp://…", show_default=False),
    ],
    queue: Annotated[
        list[str] | None, typer.Option(help="Only this queue; all when not given.", show_default=False)
    ] = None,
    replay: Annotated[bool, typer.Option("--replay", help="Put them back on their queues.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each queue.")] = 1000,
    as_json: Json = False,
) -> None:
    """List what the consumers of a cluster's queues gave up, or put it back on their queues."""
    from hayloft.assembly.queues import QUEUES
    from hayloft.events.rabbitmq.dead_letters import DeadLetters

    letters = {name: DeadLetters(broker_url, queue=name) for name in queue or QUEUES}
    if replay:
        replayed = sum(asyncio.run(one.replay(limit=limit)) for one in letters.values())
        _say_retried(replayed, as_json=as_json)
        return
    found = [(name, one) for name, them in letters.items() for one in asyncio.run(them.list(limit=limit))]
    _print([_dead_row(name, one) for name, one in found], as_json=as_json)


def _parked_row(consumer: str, one: ParkedEvent) -> dict[str, Any]:
    return {
        "from": consumer,
        "position": one.event.position,
        "kind": one.event.kind.value,
        "photo_id": one.event.photo,
        "times": one.times,
        "parked_at_ms": one.parked_at_ms,
        "due": one.due,
        "reason": one.reason,
    }


def _dead_row(queue: str, one: DeadLetter) -> dict[str, Any]:
    event = one.event
    return {
        "from": queue,
        "position": None if event is None else event.position,
        "kind": None if event is None else event.kind.value,
        "photo_id": None if event is None else event.photo,
        "times": one.times,
        "parked_at_ms": one.parked_at_ms,
        "due": False,
        "reason": one.reason,
        **({"body": one.body.decode("utf-8", "replace")} if event is None else {}),
    }


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        console().print(table(COLUMNS, map(_cells, rows), right=["times"], cut=["why"]))
    else:
        say("Nothing has been given up.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    since = datetime.fromtimestamp(row["parked_at_ms"] / 1000, UTC)
    return (
        safe(row["from"]),
        row["kind"] or "not an event",
        "" if row["photo_id"] is None else str(row["photo_id"]),
        str(row["times"]),
        time_text(since),
        "is tried again" if row["due"] else "",
        safe(row["reason"]),
    )


def _say_retried(count: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"retried": count})
    else:
        say(f"{count_text(count, 'event')} will be tried again.")
