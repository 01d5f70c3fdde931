"""Photos of any colour space and depth: sRGB of eight bits, or a named error."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from persona_affect.exceptions import InvalidImageError, MediaWarning
from persona_affect.media import open_clip, open_photo

from .conftest import ADOBE_RGB, DISPLAY_P3, SRGB, encode_photo, rgb_profile

LEVELS = np.array([30, 90, 140, 200], np.uint8)
COLOURS = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), -1).reshape(8, 8, 3)
# Blocks, which lossy coding keeps.
BLOCKS = COLOURS.repeat(16, axis=0).repeat(16, axis=1)


def expected_srgb(primaries, gamma):
    """Convert COLOURS by the definition of matrix profiles."""
    linear = (COLOURS / 255.0) ** gamma @ np.transpose(primaries) @ np.linalg.inv(SRGB).T
    linear = linear.clip(0, 1)
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * curve


def middles(photo):
    return photo[8::16, 8::16].astype(float)


@pytest.mark.parametrize("primaries", [ADOBE_RGB, DISPLAY_P3], ids=["Adobe RGB", "Display P3"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "MPO"])
def test_profiles_are_converted_to_srgb(format, primaries):
    options = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "MPO": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "HEIF": {"quality": 100, "chroma": 444},
    }
    image = Image.fromarray(BLOCKS)
    profile = rgb_profile(primaries, 2.2)
    image.info["icc_profile"] = profile
    data = encode_photo(image, format, icc_profile=profile, **options.get(format, {}))
    assert np.abs(middles(open_photo(data)) - expected_srgb(primaries, 2.2)).max() < 5
    plain = expected_srgb(primaries, 2.2) - COLOURS
    assert np.abs(plain).max() > 15


def test_adobe_rgb_is_recognised_by_the_mark_of_cameras():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    image = Image.fromarray(BLOCKS)
    data = encode_photo(image, "JPEG", exif=exif, quality=100, subsampling=0)
    assert np.abs(middles(open_photo(data)) - expected_srgb(ADOBE_RGB, 2.2)).max() < 7
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    data = encode_photo(image, "JPEG", exif=exif, quality=100, subsampling=0)
    assert np.abs(middles(open_photo(data)) - COLOURS).max() < 5


def test_srgb_and_foreign_profiles_change_nothing():
    image = Image.fromarray(BLOCKS)
    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ):
        data = encode_photo(image, "PNG", icc_profile=profile)
        np.testing.assert_array_equal(open_photo(data), BLOCKS)


def test_a_damaged_profile_is_ignored_with_a_warning():
    data = encode_photo(Image.fromarray(BLOCKS), "PNG", icc_profile=b"no profile")
    with pytest.warns(MediaWarning, match="colour profile is damaged"):
        np.testing.assert_array_equal(open_photo(data), BLOCKS)


def test_a_profile_keeps_transparency():
    pixels = np.dstack([BLOCKS, np.full(BLOCKS.shape[:2], 128, np.uint8)])
    profile = rgb_profile(DISPLAY_P3, 2.2)
    photo = open_photo(encode_photo(Image.fromarray(pixels), "PNG", icc_profile=profile))
    expected = expected_srgb(DISPLAY_P3, 2.2) * 128 / 255 + 127
    assert np.abs(middles(photo) - expected).max() < 4


def test_lab_is_converted():
    lab = ImageCms.applyTransform(
        Image.fromarray(BLOCKS),
        ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        ),
    )
    assert np.abs(middles(open_photo(encode_photo(lab, "TIFF"))) - COLOURS).mean() < 1


SHALLOW = np.linspace(0, 255, 64).round().astype(np.uint16).reshape(8, 8)
TWELVE = np.linspace(0, 4095, 64).round().astype(np.uint16).reshape(8, 8)


@pytest.mark.parametrize("values", [SHALLOW, TWELVE], ids=["8 of 16", "12 of 16"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba", "clip", "I", "I PNG", "PNG", "rgb PNG"])
def test_shallow_numbers_are_refused(values, kind):
    colour = np.repeat(values[..., None], 3, axis=-1)
    source = {
        "grey": values,
        "rgb": colour,
        "rgba": np.dstack([colour, values]),
        "clip": colour[None],
        "I": Image.fromarray(values.astype(np.int32)),
        "I PNG": encode_photo(Image.fromarray(values.astype(np.int32)), "TIFF"),
        "PNG": encode_photo(Image.fromarray(values)),
        "rgb PNG": cv2.imencode(".png", colour)[1].tobytes(),
    }[kind]
    with pytest.raises(InvalidImageError, match=r"16 bits that only reach \d+ of 65535"):
        open_clip(source) if kind == "clip" else open_photo(source)


@pytest.mark.parametrize("format", [".png", ".tiff", ".ppm"])
def test_shallow_colour_files_are_refused_and_deep_ones_read(format):
    for highest in (255, 4095):
        values = np.full((8, 8, 3), highest, np.uint16)
        with pytest.raises(InvalidImageError, match="16 bits"):
            open_photo(cv2.imencode(format, values)[1].tobytes())
    values = np.full((8, 8, 3), 65535, np.uint16)
    assert open_photo(cv2.imencode(format, values)[1].tobytes()).max() == 255


def test_dark_numbers_of_sixteen_bits_are_read_with_a_warning():
    with pytest.warns(MediaWarning, match="only reach 8190 of 65535"):
        assert open_photo(2 * TWELVE).max() == 8190 >> 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_photo(np.zeros((4, 4), np.uint16)).max() == 0


def with_significant_bits(data, bits):
    """Add the chunk sBIT after a PNG's header."""
    chunk = b"sBIT" + bytes(bits)
    chunk = struct.pack(">I", len(bits)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + chunk + data[33:]


def test_the_depth_that_a_png_declares_is_used():
    png = encode_photo(Image.fromarray(TWELVE))
    expected = np.repeat((TWELVE >> 4)[..., None], 3, axis=-1).astype(int)
    for source in (
        with_significant_bits(png, [12]),
        Image.open(io.BytesIO(with_significant_bits(png, [12]))),
    ):
        assert np.abs(open_photo(source) - expected).max() <= 1
    # By the standard, numbers of twelve bits are spread over sixteen.
    spread = encode_photo(Image.fromarray(TWELVE << 4))
    assert np.abs(open_photo(with_significant_bits(spread, [12])) - expected).max() <= 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("n_bits", [8, 10, 12])
def test_the_depth_of_colours_that_a_png_declares_is_used(n_bits, channels, orientation):
    values = np.linspace(0, 2**n_bits - 1, 6 * 8 * 3).round().astype(np.uint16).reshape(6, 8, 3)
    pixels = np.full((6, 8, channels), 2**n_bits - 1, np.uint16)
    pixels[..., :3] = values
    # OpenCV writes BGR.
    order = [2, 1, 0, 3][:channels]
    data = cv2.imencode(".png", pixels[..., order])[1].tobytes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + content
    chunk = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = with_significant_bits(data[:33] + chunk + data[33:], [n_bits] * channels)
    expected = values.astype(int) * 255 // (2**n_bits - 1)
    expected = np.rot90(expected, -1) if orientation == 6 else expected
    assert np.abs(open_photo(data).astype(int) - expected).max() <= 1
    assert np.abs(open_photo(Image.open(io.BytesIO(data))).astype(int) - expected).max() <= 1


def test_the_depth_of_colours_that_a_tiff_declares_is_used():
    values = np.linspace(0, 4095, 6 * 8 * 3).round().astype(np.uint16).reshape(6, 8, 3)
    entries = [
        (256, 3, 1, 8), (257, 3, 1, 6), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 300), (277, 3, 1, 3), (278, 3, 1, 6), (279, 4, 1, 288), (281, 3, 3, 206),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = (b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0")
    data += struct.pack("<6H", 16, 16, 16, 4095, 4095, 4095)
    data = data.ljust(300, b"\0") + values.astype("<u2").tobytes()
    expected = values.astype(int) * 255 // 4095
    assert np.abs(open_photo(data).astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("n_bits", "highest"), [(8, None), (16, None), (16, 4095)])
def test_a_tiff_in_which_zero_is_white(n_bits, highest):
    most = highest or 2**n_bits - 1
    values = np.linspace(0, most, 48).round().astype(f"<u{n_bits // 8}").reshape(6, 8)
    entries = [
        (256, 3, 1, 8), (257, 3, 1, 6), (258, 3, 1, n_bits), (259, 3, 1, 1), (262, 3, 1, 0),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 6), (279, 4, 1, values.nbytes),
        *([(281, 3, 1, highest)] if highest else []),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    data = b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes() + directory
    expected = 255 - values.astype(int) * 255 // most
    assert np.abs(open_photo(data)[..., 0].astype(int) - expected).max() <= 1


def test_the_depth_that_a_tiff_declares_is_used():
    # Two numbers of twelve bits in three bytes.
    even, odd = TWELVE[:, ::2].astype(int), TWELVE[:, 1::2].astype(int)
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8)
    entries = [
        (256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 96),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries))
    directory += b"".join(
        struct.pack("<HHI", tag, kind, n) + struct.pack("<I", value)
        for tag, kind, n, value in entries
    )
    data = b"II*\0" + struct.pack("<I", 104) + packed.tobytes() + directory + bytes(4)
    expected = np.repeat((TWELVE >> 4)[..., None], 3, axis=-1).astype(int)
    assert np.abs(open_photo(data) - expected).max() <= 1
