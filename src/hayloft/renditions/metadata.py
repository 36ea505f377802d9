"""What a photo's EXIF block says: when, with what, how, where. Pure; never raises over what it finds.

Cameras and programs write all kinds of nonsense into EXIF, so each field stands for itself: one that makes
no sense is left out, the others are kept. Tags are those of EXIF 2.32 (CIPA DC-008-2019).
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from PIL.Image import Exif

from hayloft.types import PhotoDetails

_EXIF_IFD: Final = 0x8769
_GPS_IFD: Final = 0x8825
_MAKE: Final = 0x010F
_MODEL: Final = 0x0110
_DATE_TIME: Final = 0x0132
_EXPOSURE_TIME: Final = 0x829A
_F_NUMBER: Final = 0x829D
_ISO: Final = 0x8827
_DATE_TIME_ORIGINAL: Final = 0x9003
_OFFSET_TIME_ORIGINAL: Final = 0x9011
_FOCAL_LENGTH: Final = 0x920A
_SUBSECONDS_ORIGINAL: Final = 0x9291
_FOCAL_LENGTH_35MM: Final = 0xA405
_LENS_MAKE: Final = 0xA433
_LENS_MODEL: Final = 0xA434
_GPS_LATITUDE_REF, _GPS_LATITUDE, _GPS_LONGITUDE_REF, _GPS_LONGITUDE = 1, 2, 3, 4
_GPS_ALTITUDE_REF, _GPS_ALTITUDE = 5, 6

_TEXT_CHARACTERS_MAX: Final = 128
_OFFSET: Final = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d")
_ALTITUDE_M_MAX: Final = 100_000.0

Tags = Mapping[int, Any]


def details(exif: bytes, *, width: int, height: int, frames: int = 1) -> PhotoDetails:
    """What an EXIF block (from its TIFF header on) says about a photo of this upright size."""
    main, shot, position = _read(exif)
    latitude, longitude = _coordinates(position)
    return PhotoDetails(
        width=width,
        height=height,
        frames=frames,
        taken_at=_taken_at(main, shot),
        camera_make=_text(main.get(_MAKE)),
        camera_model=_text(main.get(_MODEL)),
        lens=_lens(shot),
        exposure_seconds=_positive(shot.get(_EXPOSURE_TIME)),
        f_number=_positive(shot.get(_F_NUMBER)),
        iso=_whole(shot.get(_ISO)),
        focal_length_mm=_positive(shot.get(_FOCAL_LENGTH)),
        focal_length_35mm=_whole(shot.get(_FOCAL_LENGTH_35MM)),
        latitude=latitude,
        longitude=longitude,
        altitude_m=None if latitude is None else _altitude(position),
    )


def _read(exif: bytes) -> tuple[Tags, Tags, Tags]:
    """The main, the EXIF and the GPS tags; empty where they cannot be read."""
    found = Exif()
    with warnings.catch_warnings():
        # Pillow warns of each tag that leads nowhere; it is left out, which is all there is to do.
        warnings.simplefilter("ignore")
        try:
            found.load(exif)
            main = dict(found)
        except Exception:
            # Pillow raises struct.error, SyntaxError, KeyError … over damaged blocks: it says nothing.
            return {}, {}, {}
        return main, _directory(found, _EXIF_IFD), _directory(found, _GPS_IFD)


def _directory(found: Exif, tag: int) -> Tags:
    try:
        return dict(found.get_ifd(tag))
    except Exception:
        return {}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    printable = "".join(c if c.isprintable() else " " for c in value.split("\0")[0])
    return " ".join(printable.split())[:_TEXT_CHARACTERS_MAX]


def _number(value: Any) -> float | None:
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _positive(value: Any) -> float | None:
    number = _number(value)
    return round(number, 9) if number is not None and 0 < number < 1e6 else None


def _whole(value: Any) -> int | None:
    number = _positive(value)
    return round(number) if number is not None and number >= 1 else None


def _lens(shot: Tags) -> str:
    make, model = _text(shot.get(_LENS_MAKE)), _text(shot.get(_LENS_MODEL))
    return model if not make or model.casefold().startswith(make.casefold()) else f"{make} {model}".strip()


def _taken_at(main: Tags, shot: Tags) -> str:
    """When the shutter opened; failing that, when the file was made."""
    text = _text(shot.get(_DATE_TIME_ORIGINAL)) or _text(main.get(_DATE_TIME))
    try:
        moment = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return ""
    digits = _text(shot.get(_SUBSECONDS_ORIGINAL))
    thousandths = f".{digits[:3].ljust(3, '0')}" if digits.isascii() and digits.isdigit() else ""
    offset = _text(shot.get(_OFFSET_TIME_ORIGINAL))
    zone = offset if _OFFSET.fullmatch(offset) else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{thousandths}{zone}"


def _coordinates(position: Tags) -> tuple[float | None, float | None]:
    latitude = _degrees(position.get(_GPS_LATITUDE), position.get(_GPS_LATITUDE_REF), "S", 90)
    longitude = _degrees(position.get(_GPS_LONGITUDE), position.get(_GPS_LONGITUDE_REF), "W", 180)
    if latitude is None or longitude is None:
        return None, None
    # 0, 0 is what cameras without a fix write, far more often than a photo taken in the Gulf of Guinea.
    return (None, None) if latitude == 0 and longitude == 0 else (latitude, longitude)


def _degrees(parts: Any, reference: Any, negative: str, most: int) -> float | None:
    if not isinstance(parts, tuple) or len(parts) != 3:
        return None
    numbers = [_number(part) for part in parts]
    if any(number is None or number < 0 for number in numbers):
        return None
    degrees, minutes, seconds = (number or 0.0 for number in numbers)
    value = degrees + minutes / 60 + seconds / 3600
    if value > most:
        return None
    return round(-value if _text(reference).upper() == negative else value, 7)


def _altitude(position: Tags) -> float | None:
    metres = _number(position.get(_GPS_ALTITUDE))
    if metres is None or not 0 <= metres < _ALTITUDE_M_MAX:
        return None
    below = position.get(_GPS_ALTITUDE_REF) in (1, b"\x01")
    return round(-metres if below else metres, 2)
