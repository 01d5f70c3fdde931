"""What the header of a photo declares about its numbers, beside what Pillow makes of it."""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile

from ._formats import open_encoded
from ._orientation import turn_upright
from ._wide_colours import ADOBE_RGB

# Headers end long before.
_HEADER = 2**16


@dataclass(frozen=True)
class Declared:
    """What a photo declares.

    Attributes
    ----------
    deep : bool, default=False
        It has more than 8 bits a channel.
    n_bits : int or None, default=None
        How many of 16 bits are used.
    primaries, transfer : int, default=2
        Of its colours, as ITU-T H.273 numbers them; 2 is unknown.
    encoded : bytes, default=b""
        The file, if its colours have 16 bits of which fewer are used: Pillow keeps the upper 8.
    inverted : bool, default=False
        0 is white, and Pillow leaves the numbers so (grey TIFFs of 12 and 16 bits).
    """

    deep: bool = False
    n_bits: int | None = None
    primaries: int = 2
    transfer: int = 2
    encoded: bytes = b""
    inverted: bool = False


def read_declared(image: ImageFile.ImageFile) -> Declared:
    """Read what a photo declares, before it is decoded."""
    deep = any(
        ";16" in str(tile[3])
        or (tile[0] in ("ppm", "ppm_plain") and isinstance(tile[3], tuple) and tile[3][1] > 255)
        for tile in image.tile
    )
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        bits, highest = (int(np.max(tags.get(tag, 0))) for tag in (258, 281))
        n_bits = _usable(highest.bit_length() or bits)
        encoded = _encoded(image, deep and n_bits is not None)
        inverted = tags.get(262) == 0 and image.mode.startswith("I;16")
        return Declared(deep, n_bits, encoded=encoded, inverted=inverted)
    if image.format == "PNG":
        chunks = dict(_chunks(_head(image)))
        n_bits = _usable(max(chunks.get(b"sBIT", b""), default=0))
        tags = chunks.get(b"cICP", b"").ljust(2, b"\2")
        encoded = _encoded(image, deep and n_bits is not None)
        return Declared(deep, n_bits, tags[0], tags[1], encoded)
    if image.format == "AVIF":
        found = _head(image).partition(b"colrnclx")[2][:4]
        return Declared(deep, None, *struct.unpack(">HH", found)) if len(found) == 4 else Declared()
    if image.format == "HEIF":
        profile = image.info.get("nclx_profile") or {}
        primaries, transfer = (int(profile.get(name, 2)) for name in _HEIF_NAMES)
        return Declared(deep, None, primaries, transfer)
    # Cameras mark Adobe RGB by a letter among the metadata, without a colour profile (DCF 2.0).
    if image.format in ("JPEG", "MPO") and _marks_adobe_rgb(image):
        return Declared(deep, None, *ADOBE_RGB)
    return Declared(deep)


def read_lower_bytes(declared: Declared) -> Image.Image | None:
    """Decode the lower 8 of the 16 bits of a photo's colours; None if Pillow has no way to.

    Pillow's decoders keep the upper byte of each number. With the other byte order this is the
    lower one.
    """
    image: ImageFile.ImageFile = open_encoded(io.BytesIO(declared.encoded))  # type: ignore[assignment]
    tiles: list[Any] = []
    for tile in image.tile:
        options = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        kind, _, order = str(options[0]).partition(";16")
        if kind not in ("RGB", "RGBA") or order not in _OTHER_ORDER:
            return None
        swapped = f"{kind};16{_OTHER_ORDER[order]}"
        new = (swapped, *options[1:]) if isinstance(tile[3], tuple) else swapped
        tiles.append(_with_options(tile, new))
    image.tile = tiles
    image.load()
    return turn_upright(image)


def _with_options(tile: Any, options: Any) -> Any:
    """Replace the last part of a tile: a tuple in older versions of Pillow, a named one since."""
    kind = type(tile)
    return kind(*tile[:3], options) if hasattr(tile, "_fields") else (*tile[:3], options)


_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_HEIF_NAMES = ("color_primaries", "transfer_characteristics")


def _marks_adobe_rgb(image: ImageFile.ImageFile) -> bool:
    if "exif" not in image.info:
        return False
    try:
        return image.getexif().get_ifd(ExifTags.IFD.Interop).get(1) == "R03"
    except Exception:
        # Damaged metadata mark nothing; Pillow fails on them with errors of any class.
        return False


def _usable(n_bits: int) -> int | None:
    return n_bits if 8 <= n_bits < 16 else None


def _encoded(image: ImageFile.ImageFile, needed: bool) -> bytes:
    return _read(image, -1) if needed and image.mode in ("RGB", "RGBA") else b""


def _head(image: ImageFile.ImageFile) -> bytes:
    return _read(image, _HEADER)


def _read(image: ImageFile.ImageFile, size: int) -> bytes:
    file = image.fp
    if file is None or file.closed:
        return b""
    place = file.tell()
    file.seek(0)
    head = file.read(size)
    file.seek(place)
    return head


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of the chunks before the pixels."""
    place = 8
    while place + 8 <= len(png):
        size, kind = struct.unpack_from(">I4s", png, place)
        if kind == b"IDAT":
            return
        yield kind, png[place + 8 : place + 8 + size]
        place += size + 12
