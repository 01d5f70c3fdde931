"""The orientation that a photo's metadata declare."""

from __future__ import annotations

from PIL import ExifTags, Image

from .._warnings import warn_user
from ..exceptions import MediaWarning

# By the number in the metadata (EXIF 2.32, tag 0x0112), what makes the photo upright.
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn a decoded photo as its metadata say.

    Warns
    -----
    MediaWarning
        If they are damaged: the photo then stays as it is.
    """
    try:
        method = _METHODS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as error:
        # Pillow fails on damaged metadata with errors of any class.
        warn_user(
            f"the photo's EXIF data are damaged, so that it may not be upright: {error}.",
            MediaWarning,
        )
        return image
    return image if method is None else image.transpose(method)
