"""``hayloft put``: folders and files to the server, with progress, and resumable at any moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hayloft.cli.commands import add
from hayloft.cli.options import URL, ApiKey, Json, Parallel, Url
from hayloft.cli.output import error_console
from hayloft.errors import HayloftError

if TYPE_CHECKING:
    from rich.console import Console

    from hayloft.cli.tally import Tally
    from hayloft.client import FolderUpload


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    add(app, "put", put)


def put(
    paths: Annotated[
        list[Path], typer.Argument(exists=True, metavar="FOLDER|FILE...", help="What to upload.")
    ],
    url: Url = URL,
    api_key: ApiKey = None,
    parallel: Parallel = 4,
    hidden: Annotated[bool, typer.Option("--hidden", help="Upload hidden files, too.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Upload even what the server has already.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Upload photos: folders with everything below them, or single files.

    Files are recognised by their contents. What the server has already is skipped, so an upload that was
    interrupted is finished by running the same command again. Files that are not photos are reported and
    do no harm.
    """
    from hayloft.cli.tally import Tally
    from hayloft.client import AsyncClient, FolderUpload, Walk

    tally = Tally(as_json=as_json)
    walk = Walk(paths, hidden=hidden)

    async def upload() -> None:
        async with AsyncClient(url, api_key=api_key) as client:
            await upload_all(FolderUpload(client, walk, parallel=parallel, again=again), tally)

    run_and_tell(upload, tally, lambda: walk.hidden_skipped)


def run_and_tell(
    work: Callable[[], Coroutine[Any, Any, None]],
    tally: Tally,
    hidden_skipped: Callable[[], int] = lambda: 0,
) -> NoReturn:
    """Run an upload to whatever end it comes to, tell the outcome, and exit with its code."""
    try:
        asyncio.run(work())
    except HayloftError as error:
        tally.error = error
    except (KeyboardInterrupt, asyncio.CancelledError):
        tally.interrupted = True
    tally.hidden_skipped = hidden_skipped()
    tally.summarise()
    raise typer.Exit(tally.exit_code)


async def upload_all(run: FolderUpload, tally: Tally) -> None:
    """Count an upload's results, with a progress bar if somebody is looking."""
    async with run:
        await _watch(run, tally)


async def _watch(run: FolderUpload, tally: Tally) -> None:
    from hayloft.cli.progress import transfer_progress

    console = error_console()
    with transfer_progress(console) as progress, _stoppable(run, tally, console):
        task = progress.add_task("Uploading", total=None, files="looking at the files")

        def show() -> None:
            progress.update(
                task,
                completed=run.bytes_done,
                total=max(run.bytes_found, 1),
                files=f"{tally.done:,}/{run.files_found:,}{'' if run.walked else '+'} files",
            )

        run.on_progress = show
        try:
            async for result in run:
                tally.count(result)
                show()
        finally:
            tally.files_found = run.files_found


@contextmanager
def _stoppable(run: FolderUpload, tally: Tally, console: Console) -> Iterator[None]:
    """Ctrl-C lets what is in flight finish; a second one does not wait."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def on_interrupt() -> None:
        if tally.interrupted:
            task.cancel()
            return
        tally.interrupted = True
        run.stop()
        console.print("Finishing the uploads in flight; press Ctrl-C again to stop at once.")

    with suppress(NotImplementedError, ValueError, RuntimeError):
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGINT)
