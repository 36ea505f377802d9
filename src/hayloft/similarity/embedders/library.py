"""The models that have been added to a data directory, and which of them is in use.

Each has a folder of its own, made whole under another name and renamed at the end, so that a model is
either all there or not at all::

    models/
        in-use                  the name of the model that says what is alike, or builtin, or none
        vit-b-16/
            vit-b-16.onnx       the image encoder
            vit-b-16.json       its sidecar (``onnx.Sidecar``)
            …                   what the sidecar names: for search by words, a text encoder and a tokenizer

Any process may read and change it at any time, a server running or not. It knows files and no model: who
adds one has it checked.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hayloft.disk import sync_path
from hayloft.errors import Conflict, InvalidRequest, ModelNotFound

BUILTIN: Final = "builtin"
NONE: Final = "none"
RESERVED: Final = frozenset({BUILTIN, NONE, "onnx"})
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IN_USE: Final = "in-use"
_DRAFT: Final = ".draft-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that was added."""

    name: str
    path: Path
    """The image encoder; its sidecar and what that names lie beside it."""
    size_bytes: int
    """All its files."""


class ModelLibrary:
    """The models in ``folder``, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def models(self) -> list[Model]:
        """All models, by name."""
        if not self.folder.is_dir():
            return []
        names = (entry.name for entry in self.folder.iterdir() if _NAME.fullmatch(entry.name))
        return [self._model(name) for name in sorted(names) if self._file(name).is_file()]

    def model(self, name: str) -> Model:
        """The model of this name.

        Raises:
            ModelNotFound: there is none.
        """
        if not _NAME.fullmatch(name) or not self._file(name).is_file():
            raise ModelNotFound(f"There is no model {name!r} here.", model=name)
        return self._model(name)

    def add(self, name: str, make: Callable[[Path], None]) -> Model:
        """A new model, whose files ``make`` puts into an empty folder and checks.

        Nothing is left of it if ``make`` raises.

        Raises:
            InvalidRequest: the name is no name for a model.
            Conflict: there is one of this name.
        """
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise InvalidRequest(
                f"A model cannot be called {name!r}: letters, digits, dots, hyphens and underscores, at "
                "most 64, and not builtin, none or onnx."
            )
        if (self.folder / name).exists():
            raise Conflict(f"There is a model {name!r} already.", model=name)
        with self._draft(name) as draft:
            make(draft)
            if not (draft / f"{name}.onnx").is_file():
                raise InvalidRequest(f"The model has no file {name}.onnx.")
            for path in draft.iterdir():
                sync_path(path)
            sync_path(draft)
            draft.rename(self.folder / name)
        sync_path(self.folder)
        return self._model(name)

    def remove(self, name: str) -> None:
        """Delete a model's files.

        Raises:
            ModelNotFound: there is no such model.
            Conflict: it is in use.
        """
        model = self.model(name)
        if self.in_use() == name:
            raise Conflict(f"The model {name!r} is in use.", model=name)
        gone = self.folder / f"{_DRAFT}{name}.{os.getpid()}"
        model.path.parent.rename(gone)
        shutil.rmtree(gone)

    def in_use(self) -> str:
        """What was chosen last: a model's name, ``builtin`` (at first) or ``none``."""
        try:
            return (self.folder / _IN_USE).read_text().strip() or BUILTIN
        except FileNotFoundError:
            return BUILTIN

    def use(self, name: str) -> None:
        """Choose a model, ``builtin`` or ``none``; on stable storage when this returns.

        Raises:
            ModelNotFound: there is no such model.
        """
        if name not in (BUILTIN, NONE):
            self.model(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{_DRAFT}{_IN_USE}.{os.getpid()}"
        fresh.write_text(name + "\n")
        sync_path(fresh)
        fresh.replace(self.folder / _IN_USE)
        sync_path(self.folder)

    @contextmanager
    def _draft(self, name: str) -> Iterator[Path]:
        self._clear_away()
        draft = self.folder / f"{_DRAFT}{name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        try:
            yield draft
        finally:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(draft)

    def _clear_away(self) -> None:
        """Delete what processes left behind that were killed half way."""
        for draft in self.folder.glob(f"{_DRAFT}*.*"):
            if draft.is_dir() and not Path("/proc", draft.name.rpartition(".")[2]).exists():
                shutil.rmtree(draft, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.folder / name / f"{name}.onnx"

    def _model(self, name: str) -> Model:
        path = self._file(name)
        size = sum(entry.stat().st_size for entry in path.parent.iterdir() if entry.is_file())
        return Model(name=name, path=path, size_bytes=size)
