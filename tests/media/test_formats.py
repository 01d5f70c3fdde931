"""What a file is by its content, which formats are read, and what they may cost."""

import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageFile

from persona_affect.exceptions import InvalidImageError, MediaLimitError, MediaReadError
from persona_affect.media import is_clip, open_clip, open_photo

from .conftest import encode_photo, numbered_frames, write_video

PHOTO = Image.fromarray(
    np.stack(np.broadcast_arrays(np.arange(0, 256, 4), np.arange(48)[:, None] * 5, 90), -1).astype(
        np.uint8
    )
)


@pytest.fixture
def eps_bytes():
    return encode_photo(PHOTO, "EPS")


@pytest.mark.parametrize("name", ["a.eps", "a.jpg", "a.png", "a.tif", "a", "a.mp4"])
def test_an_eps_file_never_reaches_ghostscript(tmp_path, monkeypatch, eps_bytes, name):
    def refuse(*args, **kwargs):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", refuse)
    path = tmp_path / name
    path.write_bytes(eps_bytes)
    assert not is_clip(path)
    for source in (path, eps_bytes):
        with pytest.raises(MediaReadError, match="PostScript files are not read: save it as JPEG"):
            open_photo(source)
        with pytest.raises(MediaReadError, match="not a clip"):
            open_clip(source)
    with (
        Image.open(path) as image,
        pytest.raises(InvalidImageError, match=r"format EPS.*convert\('RGB'\)"),
    ):
        open_photo(image)


@pytest.mark.parametrize("format", ["TGA", "PCX", "SGI", "ICO", "ICNS", "DDS", "IM", "MSP", "DIB"])
def test_formats_outside_the_list_are_refused(format):
    image = PHOTO.convert("1") if format == "MSP" else PHOTO.resize((64, 64))
    with pytest.raises(MediaReadError, match=r"not a photo|not read"):
        open_photo(encode_photo(image, format))


def jpeg_with_scans(n_scans):
    data = encode_photo(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * n_scans + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(monkeypatch):
    assert open_photo(jpeg_with_scans(80)).shape == (64, 64, 3)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(MediaLimitError, match="more than 100 scans; save it as JPEG or PNG again"):
        open_photo(jpeg_with_scans(1600))


def test_scans_are_counted_in_the_picture_alone():
    many = jpeg_with_scans(1600)
    # A thumbnail among the metadata, and a second picture after the first, are not decoded.
    data = encode_photo(PHOTO, "JPEG")
    comments = b"".join(
        b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part
        for part in (many[i : i + 60_000] for i in range(0, len(many), 60_000))
    )
    np.testing.assert_array_equal(
        open_photo(data[:2] + comments + data[2:] + many), open_photo(data)
    )
    with pytest.raises(MediaLimitError, match="65,536 segments"):
        open_photo(data[:2] + b"\xff\xfe\0\2" * 70_000 + data[2:])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000"])
def test_pixels_are_bounded_before_they_are_decoded(format, monkeypatch):
    data = encode_photo(PHOTO, format)
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(MediaLimitError, match="64 x 48 pixels, more than max_pixels=3,000"):
        open_photo(data, max_pixels=3000)


GIF = encode_photo(PHOTO, "GIF")
PNG = encode_photo(PHOTO, "PNG")
EMPTY_CHUNK = struct.pack(">I", 0) + b"tESt" + struct.pack(">I", zlib.crc32(b"tESt"))
ENDLESS = {
    "fill bytes": b"\xff\xd8" + b"\xff" * 200_000,
    "stuffed bytes": b"\xff\xd8\xff" + b"\0\xff" * 200_000,
    "chunks": PNG[:33] + EMPTY_CHUNK * 100_000 + PNG[33:],
    "a comment read by the byte": b"P6 8 8 #" + b" " * 200_000 + b"\n255\n" + bytes(192),
    "blocks of one byte": GIF[:781] + b"!\xfe" + b"\1a" * 200_000 + b"\0" + GIF[781:],
}


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_headers_that_are_read_without_end(data, monkeypatch):
    monkeypatch.setattr("persona_affect.media._formats.MAX_READS", 100_000)
    with pytest.raises(MediaLimitError, match="too many parts"):
        open_photo(data)


def test_a_large_jpeg_2000_photo_is_refused_before_it_is_decoded(monkeypatch):
    data = encode_photo(PHOTO, "JPEG2000")
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    monkeypatch.setattr("persona_affect.media._formats.MAX_JPEG2000_PIXELS", 3000)
    with pytest.raises(MediaLimitError, match="64 x 48 pixels, more than 3,000 in JPEG 2000"):
        open_photo(data)


PHOTOS = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "HEIF", "JPEG2000", "PPM"]


@pytest.mark.parametrize("name", ["photo", "photo.jpg", "photo.mp4", "photo.heic", "photo.xyz"])
@pytest.mark.parametrize("format", PHOTOS)
def test_a_photo_is_a_photo_under_any_name(tmp_path, format, name):
    path = tmp_path / name
    path.write_bytes(encode_photo(PHOTO, format))
    assert not is_clip(path)
    assert not is_clip(path.read_bytes())
    photo = open_photo(path)
    assert photo.shape == (48, 64, 3)
    tolerance = {"GIF": 60, "JPEG": 12, "WEBP": 12, "AVIF": 12, "HEIF": 12}.get(format, 3)
    assert np.abs(photo.astype(int) - np.asarray(PHOTO)).mean() < tolerance


@pytest.mark.parametrize("name", ["clip", "clip.jpg", "clip.png", "clip.mkv", "clip.heic"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_a_clip_is_a_clip_under_any_name(tmp_path, suffix, name):
    codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
    video = write_video(tmp_path / f"video{suffix}", numbered_frames(3), codec=codec)
    path = video.rename(tmp_path / name)
    assert is_clip(path)
    assert len(open_clip(path)) == 3


def test_text_is_what_its_name_says(tmp_path):
    for name, clip in (("a.jpg", False), ("a.mp4", True), ("a", True)):
        path = tmp_path / name
        path.write_text("Python is not a photo.")
        assert is_clip(path) is clip
    with pytest.raises(MediaReadError, match="not a photo"):
        open_photo(tmp_path / "a.jpg")


def test_heic_without_its_package_is_refused_by_name(monkeypatch, tmp_path):
    data = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    assert not is_clip(data)
    with pytest.raises(MediaReadError, match=r"HEIC photo: save it as JPEG or PNG.*\[heic\]"):
        open_photo(data)
    with pytest.raises(MediaReadError, match="not a clip, but a photo"):
        open_clip(data)


def test_a_raw_file_is_not_read_as_its_thumbnail():
    tags = {50706: b"\1\4\0\0"}
    with pytest.raises(MediaReadError, match="raw file: save it as JPEG"):
        open_photo(encode_photo(PHOTO, "TIFF", tiffinfo=tags))
