"""``hayloft models``: which trained models are here, adding one, and choosing which says what is alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hayloft.cli.commands import add as add_command
from hayloft.cli.failure import Complaint
from hayloft.cli.options import DataFolder, Json
from hayloft.cli.output import bytes_text, console, print_json, safe, say, table

if TYPE_CHECKING:
    from hayloft.similarity.embedders.library import Model, ModelLibrary

DATA = Path("hayloft-data")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(no_args_is_help=True, help="Trained models that say which photos look alike.")
    add_command(group, "list", list_models)
    add_command(group, "add", add)
    add_command(group, "use", use)
    add_command(group, "remove", remove)
    app.add_typer(group, name="models")


def list_models(data: DataFolder = DATA, as_json: Json = False) -> None:
    """List the models that have been added, and which one is in use."""
    library = _library(data)
    chosen = library.in_use()
    rows = [_row(model, chosen) for model in library.models()]
    builtin = {"name": "builtin", "in_use": chosen == "builtin", "words": False, "size_bytes": 0}
    if as_json:
        for row in (builtin, *rows):
            print_json(row)
        return
    console().print(
        table(
            ["model", "in use", "finds words", "size"],
            (
                (
                    row["name"],
                    "yes" if row["in_use"] else "",
                    "yes" if row["words"] else "",
                    bytes_text(row["size_bytes"]) if row["size_bytes"] else "",
                )
                for row in (builtin, *rows)
            ),
            right=["size"],
        )
    )
    if chosen == "none":
        say("None is in use: nothing says which photos look alike.")


def add(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="vit-b-16, or an image encoder as an ONNX file.")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            help="For vit-b-16: a file of weights in torchvision's format; torchvision downloads them "
            "without it.",
            show_default=False,
        ),
    ] = None,
    sidecar: Annotated[
        Path | None,
        typer.Option(
            "--sidecar",
            help="For an ONNX file: the JSON file that states its preprocessing; the one beside it, with "
            "its name, when not given.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="What to call it; by default its file's name.", show_default=False),
    ] = None,
    int8: Annotated[
        Path | None,
        typer.Option(
            "--int8",
            metavar="FOLDER",
            help="Bring it to 8 bits, smaller and faster, by photos from this folder; refused where that "
            "changes what it computes, or does not make it faster here.",
            show_default=False,
        ),
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Add a model to the data directory; a server may be running.

    vit-b-16 is made with torch and torchvision, which the extra vit installs, and is compared with torch
    before it is accepted. An ONNX file is copied with its sidecar and the files that the sidecar names, and
    tried. With --int8 either is made smaller and faster, for which the extra int8 is needed. To have photos
    looked at by it: hayloft models use NAME
    """
    from hayloft.similarity.embedders import vit
    from hayloft.similarity.embedders.int8 import SUFFIX

    library = _library(data)
    suffix = "" if int8 is None else SUFFIX
    if model == vit.NAME:
        _refuse(sidecar, "--sidecar", "an ONNX file")
        say("Exporting; this takes a minute …")
        given = name or vit.NAME + suffix
        added = library.add(given, lambda folder: _export(folder, weights, given, int8))
    else:
        _refuse(weights, "--weights", vit.NAME)
        path = Path(model)
        if not path.is_file():
            raise Complaint(
                f"There is no file {safe(path)}, and no model of this name is made here.",
                advice="Give vit-b-16, or the path of an ONNX file.",
            )
        given = name or path.stem + suffix
        added = library.add(given, lambda folder: _copy(path, sidecar, folder, given, int8))
    say(
        f"Added {added.name} ({bytes_text(added.size_bytes)}). Use it with: hayloft models use {added.name}"
    )


def use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that was added, builtin, or none.")],
    data: DataFolder = DATA,
) -> None:
    """Choose what says which photos look alike.

    A running server takes it up within seconds and looks at all photos anew in the background, while the
    model before it keeps answering; one that is started later does the same. Where the setting
    similarity.embedder is given, by a flag, the environment or a file, it wins.
    """
    library = _library(data)
    library.use(name)
    say(f"{name} is in use from now on. How far it is: hayloft similarity status")


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that was added.")],
    data: DataFolder = DATA,
) -> None:
    """Delete a model's files; not those of the one in use."""
    _library(data).remove(name)
    say(f"Removed {name}.")


def _library(data: Path) -> ModelLibrary:
    from hayloft.assembly.data_directory import DataDirectory
    from hayloft.similarity.embedders.library import ModelLibrary

    directory = DataDirectory(data)
    if not directory.marker.exists():
        raise Complaint(
            f"{safe(data)} holds no Hayloft data.",
            advice="Start a server once, or give its data directory with --data.",
        )
    return ModelLibrary(directory.models)


def _refuse(value: Path | None, option: str, what: str) -> None:
    if value is not None:
        raise Complaint(f"{option} is for {what}.")


def _export(folder: Path, weights: Path | None, name: str, int8: Path | None) -> None:
    from hayloft.similarity.embedders import vit

    vit.export(folder, weights=weights)
    if name != vit.NAME:
        for path in list(folder.iterdir()):
            path.rename(path.with_name(path.name.replace(vit.NAME, name, 1)))
    _shrink(folder / f"{name}.onnx", int8)


def _copy(path: Path, sidecar: Path | None, folder: Path, name: str, int8: Path | None) -> None:
    """Copy an ONNX file with all that belongs to it, and run it once."""
    from hayloft.similarity.embedders.onnx import OnnxEmbedder, parse_sidecar

    beside = path.with_suffix(".json") if sidecar is None else sidecar
    told = beside.read_bytes() if sidecar is not None or beside.exists() else b"{}"
    shutil.copyfile(path, folder / f"{name}.onnx")
    (folder / f"{name}.json").write_bytes(told)
    for other in parse_sidecar(told, beside).files:
        shutil.copyfile(beside.with_name(other), folder / other)
    OnnxEmbedder(folder / f"{name}.onnx")
    _shrink(folder / f"{name}.onnx", int8)


def _shrink(path: Path, photos: Path | None) -> None:
    """Bring a model to 8 bits, if somebody says by which photos, and say what that does."""
    if photos is None:
        return
    from hayloft.similarity.embedders.int8 import shrink

    if not photos.is_dir():
        raise Complaint(f"There is no folder {safe(photos)}.", advice="Give --int8 a folder of photos.")
    say("Bringing it to 8 bits …")
    found = shrink(path, photos)
    say(
        f"In 8 bits: {bytes_text(found.bytes_after)} instead of {bytes_text(found.bytes_before)}, "
        f"{found.ms_after:.1f} ms a photo instead of {found.ms_before:.1f}; cosine to its own vectors of "
        f"{found.photos} photos {found.cosine_mean:.4f}, {found.cosine_low:.4f} in one of twenty."
    )


def _row(model: Model, chosen: str) -> dict[str, Any]:
    try:
        told = json.loads(model.path.with_suffix(".json").read_bytes())
        words = bool(told.get("text"))
    except (OSError, ValueError, AttributeError):
        words = False
    return {
        "name": model.name,
        "in_use": model.name == chosen,
        "words": words,
        "size_bytes": model.size_bytes,
    }
