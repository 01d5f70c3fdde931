"""Pictures in high dynamic range or wide colour spaces, as ITU-T H.273 numbers them, to sRGB.

Phones film in HLG, televisions and films use PQ, both with the primaries of BT.2020. Their numbers
taken for sRGB look grey and flat.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

# Transfer functions by their numbers in H.273 (SMPTE ST 2084 and ARIB STD-B67).
_PQ: Final = 16
_HLG: Final = 18
# Of Adobe RGB, whose primaries have no number there, and its gamma of 2.2, which has.
ADOBE_RGB: Final = (256, 4)
#: What white paper shines with, in candela per square metre (ITU-R BT.2408), and what lamps may.
_WHITE: Final = 203.0
_PEAK: Final = 1000.0
#: Light, of that of white, up to which tone mapping changes nothing.
_KNEE: Final = 0.8

# From linear RGB of other primaries to that of BT.709, which are those of sRGB (BT.2087, and
# SMPTE EG 432-1 by way of XYZ).
_TO_SRGB: Final = {
    9: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    256: ((1.3984, -0.3984, 0.0), (0.0, 1.0, 0.0), (0.0, -0.0429, 1.0429)),
    12: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}


def is_hdr(transfer: int) -> bool:
    """Return whether a transfer function is one of high dynamic range."""
    return transfer in (_PQ, _HLG)


def is_wide(primaries: int, transfer: int) -> bool:
    """Return whether a picture with these tags must be converted to sRGB."""
    return is_hdr(transfer) or primaries in _TO_SRGB


def wide_to_srgb(
    rgb: npt.NDArray[np.uint16], primaries: int, transfer: int
) -> npt.NDArray[np.uint8]:
    """Convert a tagged picture to sRGB; light above that of white is compressed.

    Parameters
    ----------
    rgb : ndarray of uint16, shape (H, W, 3)
        Over the full range.
    primaries, transfer : int
        As H.273 numbers them.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    light = _linear(transfer)[rgb]
    if transfer == _HLG:
        # A lamp of 1000 candela per square metre shows the scene with a gamma of 1.2 (BT.2100).
        scene = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= (_PEAK / _WHITE * np.maximum(scene, 1e-6) ** 0.2)[..., None]
    if primaries in _TO_SRGB:
        light = light @ np.array(_TO_SRGB[primaries], np.float32).T
    if is_hdr(transfer):
        # Scaled by the brightest of the three, so that the hue stays.
        red, green, blue = (light[..., i : i + 1] for i in range(3))
        brightest = np.maximum(np.maximum(np.maximum(red, green), blue), 1e-6)
        light *= _compress(brightest) / brightest
    return _srgb_codes()[(light.clip(0, 1) * 65535).astype(np.uint16)]


def _compress(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring light up to the peak into the range up to 1, without a bend at the knee."""
    peak = _PEAK / _WHITE
    # (x + a) / (x + b) b', which is a Moebius transformation, has slope 1 at the knee.
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a)
    return np.where(light <= _KNEE, light, scale * (light + a) / (light + b))


@cache
def _linear(transfer: int) -> npt.NDArray[np.float32]:
    """Return the light of each of 65536 codes; that of white is 1, in HLG the most is 1."""
    code = np.linspace(0, 1, 65536)
    if transfer == _PQ:
        root = code ** (1 / 78.84375)
        light = np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)
        light = light ** (1 / 0.1593017578125) * 10_000 / _WHITE
    elif transfer == _HLG:
        bright = np.exp((code - 0.55991073) / 0.17883277) + 0.28466892
        light = np.where(code <= 0.5, code**2 / 3, bright / 12)
    elif transfer == ADOBE_RGB[1]:
        light = code**2.19921875
    else:
        light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@cache
def _srgb_codes() -> npt.NDArray[np.uint8]:
    light = np.linspace(0, 1, 65536)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (255 * code).round().astype(np.uint8)
