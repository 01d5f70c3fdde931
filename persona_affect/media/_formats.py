"""Which photo formats are read, what a file is by its first bytes, and opening a photo safely."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import Any, Final

from PIL import Image, UnidentifiedImageError

from .._optional import import_optional
from ..exceptions import MediaLimitError, MediaReadError, MissingDependencyError

#: The formats that Pillow may read, by its names. Others are refused by their first bytes: some
#: run programs (EPS needs Ghostscript), most are rare, and each is one more decoder to attack.
PHOTO_FORMATS: Final = (
    "JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM",
)  # fmt: skip
#: Formats of decoded images, by Pillow's names.
DECODED_FORMATS: Final = frozenset({*PHOTO_FORMATS, "MPO", "HEIF"})
#: Scans that a JPEG file may have; progressive files have about ten.
MAX_JPEG_SCANS: Final = 100
#: Pixels of a JPEG 2000 photo, whose decoding takes about a second for each million.
MAX_JPEG2000_PIXELS: Final = 2**24
#: Header segments that a JPEG file may have.
MAX_JPEG_SEGMENTS: Final = 2**16
#: How often a decoder may read from a photo: some read headers byte by byte, in Python.
MAX_READS: Final = 2**20

#: How many bytes are read to recognise the format of a file.
SIGNATURE_SIZE: Final = 4096

_HEIC_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# Pictures that are not read, by their first bytes, so that messages can name them.
_REFUSED = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"8BPS": "Photoshop",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\1\0\1\0": "icon",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"<svg": "SVG",
    b"IIRO": "camera raw",
    b"IIU\0": "camera raw",
    b"FUJIFILMCCD-RAW": "camera raw",
}
_ADVICE = "save it as JPEG or PNG"
# Any marker of a JPEG stream, except those inside the data of a scan.
_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")


def name_photo_format(head: bytes) -> str | None:
    """Return the photo format of a file from its first bytes; None if it is not a photo.

    It also knows formats that are not read, to name them in messages.
    """
    if head[4:8] == b"ftyp":
        return _name_by_brand(head)
    if head[20:24] == b"mjp2":
        # Motion JPEG 2000: a video that begins like a JPEG 2000 photo.
        return None
    for name, accept in _signatures().items():
        if accept(head[:16]):
            return name
    return next((name for start, name in _REFUSED.items() if head.startswith(start)), None)


class BoundedFile(io.BytesIO):
    """The bytes of a photo, for decoders that may not read from it without end.

    Raises
    ------
    MediaLimitError
        At the `MAX_READS`-th time.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._n_reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as of any file."""
        self._n_reads += 1
        if self._n_reads > MAX_READS:
            raise MediaLimitError(f"the photo is made of too many parts: {_ADVICE} again.")
        return super().read(size)


def open_encoded(file: Any) -> Image.Image:
    """Open an encoded photo; this reads the header, but no pixels.

    Parameters
    ----------
    file : binary file
        At its beginning.

    Raises
    ------
    MediaReadError
        If it is not a photo of a format that is read.
    Exception
        Decoders raise errors of any class for damaged files.
    """
    head = file.read(SIGNATURE_SIZE)
    file.seek(0)
    name = name_photo_format(head)
    if name is None:
        raise MediaReadError("it is not a photo: its content is in no format that is read.")
    if name == "HEIC":
        return _open_heic(file)
    if name not in _signatures():
        needs = ", or install Pillow 11.3 or newer" if name == "AVIF" else ""
        raise MediaReadError(f"{name} files are not read: {_ADVICE}{needs}.")
    try:
        image = Image.open(file, formats=[name])
    except UnidentifiedImageError as error:
        raise MediaReadError(f"the photo is damaged: its {name} header cannot be read.") from error
    width, height = image.size
    if name == "JPEG2000" and width * height > MAX_JPEG2000_PIXELS:
        image.close()
        raise MediaLimitError(
            f"the photo declares {width} x {height} pixels, more than {MAX_JPEG2000_PIXELS:,} in "
            f"JPEG 2000: {_ADVICE}."
        )
    if name == "TIFF" and _is_raw(image):
        raise MediaReadError(f"it is a camera's raw file: {_ADVICE}.")
    return image


def check_scans(data: bytes) -> None:
    """Raise if a JPEG file has so many scans that decoding takes minutes.

    Raises
    ------
    MediaLimitError
    """
    if not data.startswith(b"\xff\xd8"):
        return
    place, n_scans, n_segments = 2, 0, 0
    while (found := _MARKER.search(data, place)) is not None:
        kind, place = found[1][0], found.end()
        if kind in (0xD8, 0xD9):  # The end of the picture; what follows is not part of it.
            return
        place += int.from_bytes(data[place : place + 2], "big")
        n_scans += kind == 0xDA
        n_segments += 1
        if n_scans > MAX_JPEG_SCANS:
            raise MediaLimitError(
                f"the JPEG file has more than {MAX_JPEG_SCANS} scans; {_ADVICE} again."
            )
        if n_segments > MAX_JPEG_SEGMENTS:
            raise MediaLimitError(
                f"the JPEG file has more than {MAX_JPEG_SEGMENTS:,} segments; {_ADVICE} again."
            )


@cache
def _signatures() -> dict[str, Any]:
    """Return, for each format that is read, a function that recognises its first bytes."""
    Image.init()
    known = {name: Image.OPEN[name][1] for name in PHOTO_FORMATS if name in Image.OPEN}
    # Pillow's own check accepts any text that begins with P, such as "Python".
    return known | {"PPM": re.compile(rb"P[1-6fy]\s").match}


def _name_by_brand(head: bytes) -> str | None:
    """Return the format of a still picture in an MP4-like container; None for a video."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brand, others = head[8:12], {head[i : i + 4] for i in range(16, end - 3, 4)}
    if brand in (b"mif1", b"msf1") and others & _AVIF_BRANDS:
        return "AVIF"
    if brand in _AVIF_BRANDS:
        return "AVIF"
    if brand in _HEIC_BRANDS:
        return "HEIC"
    return "camera raw" if brand == b"crx " else None


def _open_heic(file: Any) -> Image.Image:
    try:
        heif = import_optional("pillow_heif", extra="heic", purpose="Reading it")
    except MissingDependencyError as error:
        raise MediaReadError(f"it is a HEIC photo: {_ADVICE}. {error}") from error
    return heif.HeifImageFile(file)


def _is_raw(image: Image.Image) -> bool:
    """Return whether a TIFF file is a camera's raw file; Pillow would read its thumbnail."""
    tags = getattr(image, "tag_v2", {})
    dng_version, subfile_type = 50706, 254
    return dng_version in tags or (tags.get(subfile_type) == 1 and 330 in tags)
