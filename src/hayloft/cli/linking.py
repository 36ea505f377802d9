"""``hayloft similar``, ``links``, ``groups`` and ``verdict``: which photos belong together, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from hayloft.cli.commands import add
from hayloft.cli.connection import connect
from hayloft.cli.evidence import why_text
from hayloft.cli.failure import Complaint
from hayloft.cli.options import (
    ROWS,
    URL,
    ApiKey,
    Everything,
    Json,
    Limit,
    OnlyRelation,
    PhotoName,
    Url,
    rows_max,
)
from hayloft.cli.output import console, count_text, print_json, safe, say, table
from hayloft.cli.review import go_through
from hayloft.types import Link, Neighbour, PhotoGroup, Relation

if TYPE_CHECKING:
    from hayloft.client import Client

Said = Literal["same", "different", "none"]
"""What a person may say of two photos; ``none`` takes it back."""

Row = TypeVar("Row", Link, PhotoGroup)


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "similar", similar)
    add(app, "links", links)
    add(app, "groups", groups)
    add(app, "verdict", verdict)


def similar(
    photo: Annotated[
        str, typer.Argument(metavar="PHOTO", help="A photo's id, its link, or an image file here.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many.")] = 10,
    score_min: Annotated[
        float, typer.Option("--min-score", min=0.0, max=1.0, help="Only with at least this score.")
    ] = 0.0,
    relation: OnlyRelation = None,
    open_them: Annotated[
        bool, typer.Option("--open", help="Show them in the browser, the photo itself first.")
    ] = False,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Find the photos nearest to one: a stored photo, or an image file that is not stored."""
    with connect(url, api_key) as client:
        near = _nearest(client, photo, k=k, score_min=score_min, relation=relation)
        if as_json:
            for neighbour in near:
                print_json(neighbour)
        elif near:
            console().print(_neighbours(client, near))
        else:
            say("Nothing like it. A photo that was just uploaded may take a moment: hayloft stats")
        if open_them:
            _open(client, photo, near)


def links(
    photo: Annotated[
        str | None, typer.Argument(metavar="[ID|URL]", help="Only this photo's links.", show_default=False)
    ] = None,
    relation: OnlyRelation = None,
    limit: Limit = None,
    everything: Everything = False,
    review: Annotated[
        bool, typer.Option("--review", help="Go through the links and decide about each.")
    ] = False,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List which photos belong together, with score and evidence; or decide about them."""
    with connect(url, api_key) as client:
        if review:
            go_through(client, _all_of(client, photo, relation))
            return
        rows = rows_max(limit, everything=everything, as_json=as_json)
        shown, cut = _show(client, _all_of(client, photo, relation), rows, as_json=as_json, made=_links)
        if not as_json:
            _tell_rest(client, shown, cut=cut, one="link", none="No links.")


def groups(
    photo: Annotated[
        str | None, typer.Argument(metavar="[ID|URL]", help="Only this photo's group.", show_default=False)
    ] = None,
    relation: Annotated[
        Relation | None,
        typer.Option(
            "--relation",
            help="duplicate: only by equal bytes; copy, as without it: by copies and verdicts too.",
            show_default=False,
        ),
    ] = None,
    limit: Limit = None,
    everything: Everything = False,
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """List photos that are the same, the one to keep first; copies count, and what people said."""
    if photo is not None and relation is not None:
        raise Complaint("--relation is for the list of all groups; a photo has one group.")
    with connect(url, api_key) as client:
        found = client.groups(relation=relation) if photo is None else [client.group(photo)]
        rows = rows_max(limit, everything=everything, as_json=as_json)
        shown, cut = _show(client, found, rows, as_json=as_json, made=_groups)
        if not as_json:
            _tell_rest(client, shown, cut=cut, one="group", none="No two photos are the same.")


def verdict(
    a: PhotoName,
    b: PhotoName,
    said: Annotated[
        Said,
        typer.Argument(metavar="same|different|none", help="What they are; none takes back what was said."),
    ],
    url: Url = URL,
    api_key: ApiKey = None,
    as_json: Json = False,
) -> None:
    """Say that two photos are the same or different; it wins over every computation, for good."""
    with connect(url, api_key) as client:
        link = client.set_verdict(a, b, None if said == "none" else said)
        if as_json:
            print_json(link)
        elif link is not None:
            console().print(_links(client, [link]))
        else:
            say("Nothing links the two photos now.")


def _nearest(
    client: Client, photo: str, *, k: int, score_min: float, relation: Relation | None
) -> tuple[Neighbour, ...]:
    # A file wins over an id of the same spelling: ./4294967297 is still a way to say which is meant.
    if Path(photo).is_file():
        return client.similar_to(Path(photo), k=k, score_min=score_min, relation=relation)
    return client.similar(photo, k=k, score_min=score_min, relation=relation)


def _neighbours(client: Client, near: tuple[Neighbour, ...]) -> object:
    return table(
        ["id", "relation", "score", "name", "why"],
        (
            (
                str(neighbour.photo),
                str(neighbour.relation),
                f"{neighbour.score:.3f}",
                name_of(client, neighbour.photo),
                why_text(neighbour),
            )
            for neighbour in near
        ),
        right=["id", "score"],
        cut=["name", "why"],
    )


def _links(client: Client, page: Iterable[Link]) -> object:
    return table(
        ["photo", "belongs with", "relation", "score", "names", "why"],
        (
            (
                str(link.a),
                str(link.b),
                f"{link.relation} ({link.verdict})" if link.verdict else str(link.relation),
                f"{link.score:.3f}",
                f"{name_of(client, link.a)} · {name_of(client, link.b)}",
                why_text(link),
            )
            for link in page
        ),
        right=["photo", "belongs with", "score"],
        cut=["names", "why"],
    )


def _groups(client: Client, page: Iterable[PhotoGroup]) -> object:
    return table(
        ["best", "name", "photos", "others"],
        (
            (
                str(group.best),
                name_of(client, group.best),
                f"{len(group.photos):,}",
                " ".join(str(photo) for photo in group.photos if photo != group.best),
            )
            for group in page
        ),
        right=["best", "photos"],
        cut=["name", "others"],
    )


def _show(
    client: Client,
    every: Iterable[Row],
    rows: int | None,
    *,
    as_json: bool,
    made: Callable[[Client, list[Row]], object],
) -> tuple[int, bool]:
    """Print at most so many rows, table after table; how many there were, and whether more are left."""
    found = iter(every)
    shown = 0
    while page := list(islice(found, ROWS if rows is None else min(ROWS, rows - shown))):
        shown += len(page)
        if as_json:
            for row in page:
                print_json(row)
        else:
            console().print(made(client, page))
    return shown, rows is not None and next(found, None) is not None


def _all_of(client: Client, photo: str | None, relation: Relation | None) -> Iterable[Link]:
    if photo is None:
        return client.all_links(relation=relation)
    return (link for link in client.links(photo) if relation in (None, link.relation))


def _tell_rest(client: Client, shown: int, *, cut: bool, one: str, none: str) -> None:
    if cut:
        say(f"{count_text(shown, one)} shown; see more with --limit N or --all.")
    elif shown:
        say(f"{count_text(shown, one)}.")
    else:
        similarity = client.stats().similarity
        pending = similarity.pending if similarity else 0
        say(none + (f" {count_text(pending, 'photo')} still to be looked at." if pending else ""))


def name_of(client: Client, photo: int) -> str:
    """A photo's file name; empty for one that is not there."""
    from hayloft.errors import HayloftError

    try:
        return safe(client.info(photo).name)
    except HayloftError:
        return ""


def _open(client: Client, photo: str, near: tuple[Neighbour, ...]) -> None:
    first = Path(photo).resolve().as_uri() if Path(photo).is_file() else client.info(photo).url
    for address in (first, *(client.info(neighbour.photo).url for neighbour in near)):
        typer.launch(address)
