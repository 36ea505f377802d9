"""Writing a photo to a file: whole or not at all, under a name that is safe here.

The bytes go to a temporary file beside the target, which is renamed when the last byte is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hayloft.errors import NeedleCorrupt

if TYPE_CHECKING:
    from hayloft.client import PhotoFile

CHUNK_BYTES: Final = 1 << 20
NAME_BYTES_MAX: Final = 200
"""File systems allow 255; the rest is room for what makes a name unique."""


def choose_path(output: Path | None, name: str, photo: int) -> Path:
    """Where a photo goes: the file that was asked for, or its own name in the folder asked for."""
    if output is not None and not output.is_dir():
        return output
    return (output or Path()) / safe_name(name, photo)


def safe_name(name: str, photo: int) -> str:
    """A file name that stays in its folder and can be typed; the photo's id if nothing is left of it."""
    last = name.replace("\\", "/").rpartition("/")[2]
    printable = "".join(letter if letter.isprintable() else "_" for letter in last).strip(" .")
    stem, dot, ending = printable.rpartition(".")
    short = printable
    if len(printable.encode()) > NAME_BYTES_MAX:
        kept = (stem or ending).encode()[: NAME_BYTES_MAX - 20].decode("utf-8", "ignore")
        short = kept + (dot + ending[:16] if stem else "")
    return short or f"photo-{photo}"


def download(file: PhotoFile, path: Path, *, sha256: str = "") -> None:
    """Write a photo to ``path``.

    Raises:
        OSError: it cannot be written.
        NeedleCorrupt: the bytes are not those that ``sha256`` (hexadecimal digits) stands for.
    """
    digest = hashlib.sha256()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".hayloft-")
    try:
        with os.fdopen(descriptor, "wb") as target:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
        if sha256 and digest.hexdigest() != sha256:
            raise NeedleCorrupt(f"What arrived for {path} is not what was stored; try again.")
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
