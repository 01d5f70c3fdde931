"""What the header of a photo declares about its numbers, beside what Pillow makes of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, ImageFile

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
    """

    deep: bool = False
    n_bits: int | None = None
    primaries: int = 2
    transfer: int = 2


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
        return Declared(deep, _usable(highest.bit_length() or bits))
    if image.format == "PNG":
        chunks = dict(_chunks(_head(image)))
        n_bits = _usable(max(chunks.get(b"sBIT", b""), default=0))
        tags = chunks.get(b"cICP", b"").ljust(2, b"\2")
        return Declared(deep, n_bits, tags[0], tags[1])
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


def _head(image: ImageFile.ImageFile) -> bytes:
    file = image.fp
    if file is None or file.closed:
        return b""
    place = file.tell()
    file.seek(0)
    head = file.read(_HEADER)
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
