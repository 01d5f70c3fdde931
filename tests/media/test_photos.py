import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from persona_affect.exceptions import (
    InvalidImageError,
    MediaLimitError,
    MediaReadError,
    MediaWarning,
)
from persona_affect.media import open_photo

from .conftest import encode_photo as encode

GRADIENT = np.stack(
    np.broadcast_arrays(np.arange(0, 240, 10)[None, :], np.arange(0, 160, 10)[:, None], 50), axis=-1
).astype(np.uint8)


def test_same_pixels_from_path_bytes_pil_and_array(tmp_path):
    image = Image.fromarray(GRADIENT)
    path = tmp_path / "photo.png"
    image.save(path)
    for source in (path, str(path), encode(image), memoryview(encode(image)), image, GRADIENT):
        photo = open_photo(source)
        assert photo.dtype == np.uint8
        np.testing.assert_array_equal(photo, GRADIENT)


def stored_as(orientation):
    """Return the upright picture as each orientation stores it (EXIF 2.32, table 6)."""
    return {
        1: GRADIENT,
        2: GRADIENT[:, ::-1],
        3: GRADIENT[::-1, ::-1],
        4: GRADIENT[::-1],
        5: GRADIENT.transpose(1, 0, 2),
        6: np.rot90(GRADIENT, 1),
        7: GRADIENT[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(GRADIENT, -1),
    }[orientation]


def with_orientation(orientation, format, **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(stored_as(orientation)))
    return encode(stored, format, exif=exif, **options)


SECOND_PICTURE = {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]}


@pytest.mark.parametrize("junk", [b"junk", b"Exif\0\0junk"])
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_damaged_metadata_do_not_cost_the_photo(format, junk):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), 90, np.uint8)).save(file, format, exif=junk, lossless=True)
    with pytest.warns(MediaWarning, match="EXIF data are damaged"):
        photo = open_photo(file.getvalue())
    np.testing.assert_array_equal(photo, 90)
    assert photo.shape == (8, 12, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("MPO", {"quality": 100, "subsampling": 0, **SECOND_PICTURE}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg", "quality": 100}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}),
        ("HEIF", {"quality": 100, "chroma": 444}),
    ],
)
def test_orientation_is_applied_once(format, options, orientation):
    data = with_orientation(orientation, format, **options)
    sources = [data]
    if format != "HEIF":
        sources.append(Image.open(io.BytesIO(data)))
    for source in sources:
        photo = open_photo(source)
        assert photo.shape == GRADIENT.shape
        np.testing.assert_allclose(photo.astype(int), GRADIENT, atol=6)


def test_a_photo_given_as_a_pil_image_is_not_changed():
    image = Image.open(io.BytesIO(with_orientation(6, "JPEG")))
    open_photo(image)
    assert image.getexif()[0x0112] == 6
    assert image.size == (16, 24)


def test_grey_one_bit_and_palette():
    grey = GRADIENT[..., 0]
    expected = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_array_equal(open_photo(encode(Image.fromarray(grey))), expected)
    np.testing.assert_array_equal(open_photo(grey), expected)
    np.testing.assert_array_equal(open_photo(grey[..., None]), expected)

    bits = Image.fromarray(grey > 100)
    np.testing.assert_array_equal(open_photo(bits)[..., 0], 255 * (grey > 100))

    few_colours = (GRADIENT // 80) * 80
    palette = Image.fromarray(few_colours).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(open_photo(encode(palette)), few_colours)


def test_sixteen_bits_keep_their_range():
    deep = np.linspace(0, 65535, 24 * 16).astype(np.uint16).reshape(16, 24)
    expected = np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(open_photo(encode(Image.fromarray(deep))), expected)
    np.testing.assert_array_equal(open_photo(deep), expected)
    np.testing.assert_array_equal(open_photo(deep.astype(">u2")), expected)
    np.testing.assert_array_equal(open_photo(Image.fromarray(deep.astype(np.int32))), expected)


def test_cmyk_becomes_the_colours_that_viewers_show():
    cmyk = Image.fromarray(GRADIENT).convert("CMYK")
    np.testing.assert_allclose(open_photo(encode(cmyk, "TIFF")).astype(int), GRADIENT, atol=1)


def test_transparency_lies_over_white():
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    expected = [[255] * 3, [127] * 3, [0] * 3]
    np.testing.assert_array_equal(open_photo(pixels)[0], expected)
    np.testing.assert_array_equal(open_photo(encode(Image.fromarray(pixels)))[0], expected)


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_photo(data).mean() == 10


def png_header(width, height):
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + struct.pack(">I", 0)
        + b"IDAT"
        + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_photos_are_refused_before_they_are_decoded():
    with pytest.raises(MediaLimitError, match=r"20000 x 20000|exceeds limit"):
        open_photo(png_header(20_000, 20_000))
    with pytest.raises(MediaLimitError, match="10000 x 9000 pixels, more than max_pixels"):
        open_photo(png_header(10_000, 9_000))
    with pytest.raises(MediaLimitError, match="max_pixels=100"):
        open_photo(Image.fromarray(GRADIENT), max_pixels=100)


def test_one_pixel_is_a_photo():
    assert open_photo(encode(Image.new("RGB", (1, 1)))).shape == (1, 1, 3)


def test_files_that_are_not_photos(tmp_path):
    with pytest.raises(MediaReadError, match="no such file"):
        open_photo(tmp_path / "missing.jpg")
    with pytest.raises(MediaReadError, match="folder"):
        open_photo(tmp_path)
    with pytest.raises(MediaReadError, match="cannot be used"):
        open_photo("long" * 1000)
    with pytest.raises(MediaReadError):
        open_photo("null\0character.jpg")
    empty = tmp_path / "empty.jpg"
    empty.touch()
    with pytest.raises(MediaReadError, match="empty"):
        open_photo(empty)
    with pytest.raises(MediaReadError, match="0 bytes"):
        open_photo(b"")
    text = tmp_path / "text.jpg"
    text.write_text("not a photo")
    with pytest.raises(MediaReadError, match="not a photo"):
        open_photo(text)


def test_files_that_could_block_or_fill_the_memory(tmp_path):
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(MediaReadError, match="not a regular file"):
        open_photo(pipe)
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(MediaLimitError, match="536,870,913 bytes"):
        open_photo(large)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_truncated_files(format):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, format)
    with pytest.raises(MediaReadError, match="damaged"):
        open_photo(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "channels first.*moveaxis\\(array, 0, -1\\)"),
        (np.zeros((4, 4, 5), np.uint8), "has 5 channels"),
        (np.zeros((20, 30, 3), np.float32), "255 \\* array"),
        (np.full((20, 30, 3), np.nan), "NaN"),
        (np.full((20, 30, 3), -1.5), "negative"),
        (np.full((20, 30, 3), 7), "astype\\(np.uint8\\)"),
        (np.full((20, 30, 3), 700), "reach 700"),
        (np.ones((20, 30), bool), "255 \\* array.astype"),
        (np.zeros((20, 30, 2), np.uint8), "2 channels"),
        (np.zeros((0, 30, 3), np.uint8), "empty"),
        (np.zeros((2, 20, 30, 3), np.uint8), "4 dimensions"),
        (np.zeros((20, 30, 3), "U1"), "0 to 255"),
    ],
)
def test_arrays_that_are_not_photos(array, message):
    with pytest.raises(InvalidImageError, match=message):
        open_photo(array)


def test_unknown_kinds_and_unknown_ranges():
    with pytest.raises(InvalidImageError, match="dict"):
        open_photo({})
    with pytest.raises(InvalidImageError, match="unknown range"):
        open_photo(Image.fromarray(np.full((4, 4), 0.5, np.float32)))
