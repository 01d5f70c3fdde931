"""Pictures in high dynamic range and wide colour spaces look like the standard ones."""

import struct
import warnings
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from persona_affect.media import iter_frames, open_clip, open_photo

from .conftest import encode_photo

LEVELS = np.array([40, 90, 140, 200])
COLOURS = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), -1).reshape(8, 8, 3)
#: The definitions again, in the other direction. From BT.709 to BT.2020: BT.2087, table 4.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
BT2020, P3, SRGB_CURVE, PQ, HLG = 9, 12, 13, 16, 18


def linear(colours):
    code = colours / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def pq(light):
    power = (203 * light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light):
    shown = 203 * light / 1000
    luminance = shown @ [0.2627, 0.6780, 0.0593]
    scene = shown * (luminance[..., None] ** (1 / 1.2 - 1))
    return np.where(
        scene <= 1 / 12,
        np.sqrt(3 * scene),
        0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073,
    )


def srgb(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def coded(primaries, transfer, colours=COLOURS):
    """Numbers from 0 to 1 of the colours, in another space."""
    matrix = {BT2020: TO_BT2020, P3: TO_P3}[primaries]
    curve = {PQ: pq, HLG: hlg, SRGB_CURVE: srgb}[transfer]
    return curve(np.maximum(linear(colours) @ matrix.T, 0))


def blocks(codes):
    return codes.repeat(16, axis=0).repeat(16, axis=1)


def middles(photo):
    return photo[8::16, 8::16].astype(float)


def write_tagged(path, primaries, transfer):
    pixels = (blocks(coded(primaries, transfer)) * 65535).round().astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 128, 128, "yuv444p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc = primaries, transfer
        context.colorspace, context.color_range = 9, 1
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb48le").reformat(
                format="yuv444p10le", dst_colorspace=9, dst_color_range=1
            )
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


SPACES = [(BT2020, PQ), (BT2020, HLG), (P3, PQ), (P3, SRGB_CURVE)]


@pytest.mark.parametrize(("primaries", "transfer"), SPACES)
def test_clips_in_other_spaces_look_the_same(tmp_path, primaries, transfer):
    path = write_tagged(tmp_path / "clip.mp4", primaries, transfer)
    plain = 255 * coded(primaries, transfer)
    assert np.abs(plain - COLOURS).max() > 10
    for image in (open_clip(path, 1)[0], next(iter_frames(path)).image):
        assert image.dtype == np.uint8
        assert np.abs(middles(image) - COLOURS).max() < 7


def with_chunk(png, kind, content):
    chunk = kind + content
    chunk = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + chunk + png[33:]


@pytest.mark.parametrize(("primaries", "transfer"), SPACES)
@pytest.mark.parametrize("format", ["PNG", "AVIF", "HEIF"])
def test_photos_in_other_spaces_look_the_same(format, primaries, transfer):
    image = Image.fromarray((blocks(coded(primaries, transfer)) * 255).round().astype(np.uint8))
    if format == "PNG":
        data = with_chunk(encode_photo(image), b"cICP", bytes([primaries, transfer, 0, 1]))
    else:
        options = {"AVIF": {"subsampling": "4:4:4"}, "HEIF": {"chroma": 444}}[format]
        data = encode_photo(image, format, quality=100, **options)
        place = data.index(b"colrnclx") + 8
        data = data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]
    # Eight bits of PQ are coarse.
    assert np.abs(middles(open_photo(data)) - COLOURS).mean() < 4


def test_light_above_white_is_compressed_and_keeps_its_order():
    light = np.linspace(0, 4.9, 64)[None, :, None].repeat(3, axis=-1)
    codes = (255 * pq(light)).round().astype(np.uint8)
    png = with_chunk(encode_photo(Image.fromarray(codes)), b"cICP", bytes([BT2020, PQ, 0, 1]))
    shown = open_photo(png)[0, :, 0].astype(int)
    assert (np.diff(shown) >= 0).all()
    assert shown[-1] >= 250
    assert shown[12] < 245, "white paper is not yet the brightest"


def test_standard_tags_change_nothing(tmp_path):
    png = encode_photo(Image.fromarray(blocks(COLOURS).astype(np.uint8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = open_photo(with_chunk(png, b"cICP", bytes([1, SRGB_CURVE, 0, 1])))
    np.testing.assert_array_equal(photo, blocks(COLOURS))
