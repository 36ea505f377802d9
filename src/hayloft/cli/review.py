"""``hayloft links --review``: one pair after the other, and a person's word on it, which wins for ever."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from hayloft.cli.evidence import why_text
from hayloft.cli.output import bytes_text, console, count_text, pairs, safe, say
from hayloft.errors import Gone, NotFound
from hayloft.types import Link, PhotoStatus, Verdict

if TYPE_CHECKING:
    from hayloft.client import Client, Photo

_VERDICTS = {"s": Verdict.SAME, "d": Verdict.DIFFERENT}
_QUESTION = "[s]ame photo, [d]ifferent, [o]pen, [n]ext, [q]uit"


def go_through(client: Client, links: Iterable[Link]) -> None:
    """Ask about every pair that nobody has decided about yet."""
    decided = 0
    for link in links:
        if link.verdict is not None:
            continue
        answer = _ask(client, link)
        if answer == "q":
            break
        if answer in _VERDICTS:
            client.set_verdict(link.a, link.b, _VERDICTS[answer])
            decided += 1
    else:
        say("That was all.")
    say(f"{count_text(decided, 'pair')} decided.")


def _ask(client: Client, link: Link) -> str:
    try:
        photos = [client.info(link.a), client.info(link.b)]
    except (NotFound, Gone):
        return "n"
    if any(photo.status is PhotoStatus.DELETED for photo in photos):
        return "n"
    console().print()
    why = f"{link.relation}, score {link.score:.3f}, {why_text(link)}"
    console().print(pairs([*((str(photo.id), _described(photo)) for photo in photos), ("why", why)]))
    while (answer := _answer()) == "o":
        for photo in photos:
            typer.launch(photo.url)
    return answer


def _answer() -> str:
    typed = str(typer.prompt(_QUESTION, default="n", err=True)).strip().lower()[:1]
    return typed if typed and typed in "sdonq" else _answer()


def _described(photo: Photo) -> str:
    size = f"{photo.width}×{photo.height}, {bytes_text(photo.size)}"
    return f"{safe(photo.name)} ({size})  {photo.url}"
