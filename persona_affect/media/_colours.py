"""Conversion of photos from other colour spaces to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from .._warnings import warn_user
from ..exceptions import InvalidImageError, MediaWarning
from ._arrays import check_depth, to_8_bits, to_rgb
from ._declared import Declared, read_lower_bytes
from ._wide_colours import is_hdr, is_wide, wide_to_srgb

#: Profiles that change no colour by more than this, of 255, are treated as sRGB.
_SAME: Final = 3
# Pillow's modes for the colour spaces of ICC profiles.
_MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}


def photo_to_srgb(image: Image.Image, declared: Declared) -> npt.NDArray[np.uint8]:
    """Convert a decoded picture to sRGB; transparency becomes white.

    Parameters
    ----------
    image : PIL.Image.Image
        Decoded.
    declared : Declared
        What its file says of its numbers.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    Raises
    ------
    InvalidImageError
        If the numbers are of an unknown range.

    Warns
    -----
    MediaWarning
        If the colour profile is damaged: the colours are then treated as sRGB.
    """
    profile = image.info.get("icc_profile")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _grey_8_bits(image, declared.n_bits)
        image = Image.fromarray(255 - grey if declared.inverted else grey)
    elif declared.encoded and _is_shallow(image, declared.n_bits):
        image = _colour_8_bits(image, declared)
    elif declared.deep:
        # The lower eight bits are lost: black may have been any number below 256.
        check_depth(int(np.asarray(image.convert("RGB")).max()) * 255 or 255, "photo")
    alpha: Image.Image | None = None
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha = image.getchannel("A")
        image = image.getchannel("L") if image.mode == "LA" else image.convert("RGB")
    rgb = np.asarray(_to_srgb(image, declared, profile))
    if alpha is None:
        return np.ascontiguousarray(rgb)
    return to_rgb(np.dstack([rgb, np.asarray(alpha)]))


def _grey_8_bits(image: Image.Image, n_bits: int | None) -> npt.NDArray[np.uint8]:
    grey = np.asarray(image)
    # Older versions of Pillow open 16-bit PNGs as mode I.
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        raise InvalidImageError(
            f"the photo holds 32-bit numbers ({grey.min():g} to {grey.max():g}) of unknown "
            "range: save it with 8 or 16 bits."
        )
    return to_8_bits(grey.astype(np.uint16), "photo", n_bits)


def _is_shallow(image: Image.Image, n_bits: int | None) -> bool:
    """Return whether upper bytes are so low that the bits in use are the lower ones."""
    highest = int(np.asarray(image.convert("RGB")).max())
    return n_bits is not None and highest < max(1, 2 ** (n_bits - 8))


def _colour_8_bits(image: Image.Image, declared: Declared) -> Image.Image:
    lower = read_lower_bytes(declared)
    if lower is None or lower.size != image.size or lower.mode != image.mode:
        raise InvalidImageError(
            "the photo's colours have 16 bits, of which it uses the lower ones: save it with 8."
        )
    numbers = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    scaled = Image.fromarray(to_8_bits(numbers, "photo", declared.n_bits))
    scaled.info = image.info
    return scaled


def _to_srgb(image: Image.Image, declared: Declared, profile: bytes | None) -> Any:
    transform: Any = None
    tags = declared.primaries, declared.transfer
    if is_hdr(declared.transfer) or (profile is None and is_wide(*tags)):
        rgb = np.asarray(image.convert("RGB")).astype(np.uint16) * 257
        return wide_to_srgb(rgb, *tags)
    if image.mode not in _MODES.values():
        image = image.convert("L" if image.mode == "1" else "RGB")
    if profile or image.mode == "LAB":
        try:
            transform = _transform_of(profile, image.mode)
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            warn_user(
                f"the photo's colour profile is damaged; its colours are treated as sRGB: {error}.",
                MediaWarning,
            )
    if transform is not None:
        return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)
def _transform_of(profile: bytes | None, mode: str) -> Any:
    """Return the transform from a profile to sRGB; None if it would change nothing.

    Like browsers, this ignores a profile for another kind of colours than those of the picture.
    """
    if mode == "LAB":
        source: Any = ImageCms.createProfile("LAB")
    else:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile or b""))
        if _MODES.get(opened.profile.xcolor_space) != mode:
            return None
        source = opened.profile
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    if mode in ("RGB", "L"):
        sample = _sample_colours(mode)
        change = np.asarray(transform.apply(sample), int) - np.asarray(sample.convert("RGB"))
        if np.abs(change).max() <= _SAME:
            return None
    return transform


def _sample_colours(mode: str) -> Image.Image:
    """Make a picture of colours from the whole space."""
    levels = np.linspace(0, 255, 18).round().astype(np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(18, -1, 3))
