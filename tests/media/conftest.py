import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest


def encode_photo(image, format="PNG", **options):
    """Encode a PIL image; HEIC where the extra is installed."""
    buffer = io.BytesIO()
    if format == "HEIF":
        heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
        if "exif" in options:
            options["exif"] = options["exif"].tobytes()
        heif.from_pillow(image).save(buffer, **options)
    else:
        image.save(buffer, format, **options)
    return buffer.getvalue()


def numbered_frames(n_frames, height=48, width=64):
    """Frames that show their number as eight dark or bright columns, and survive lossy coding."""
    bits = np.arange(n_frames)[:, None] >> np.arange(8) & 1
    levels = (60 + 130 * bits).astype(np.uint8).repeat(width // 8, axis=1)
    return np.broadcast_to(levels[:, None, :, None], (n_frames, height, width, 3)).copy()


def frame_numbers(frames):
    """Read the numbers of `numbered_frames`."""
    rows = np.asarray(frames).mean(axis=(1, 3))
    bits = rows.reshape(len(rows), 8, -1).mean(axis=2) > 125
    return (bits << np.arange(8)).sum(axis=1).tolist()


def write_video(path, frames, *, times=None, codec="libx264", gop=10, rate=25, audio=False):
    """Write frames shown at `times` (in frame durations) to a file."""
    options = {"movflags": "faststart"} if str(path).endswith((".mp4", ".mov")) else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = gop
        stream.time_base = Fraction(1, rate)
        stream.codec_context.time_base = Fraction(1, rate)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture
def video(tmp_path):
    """A video of 100 frames, 25 a second, a key frame every ten."""
    return write_video(tmp_path / "clip.mp4", numbered_frames(100))


def rgb_profile(primaries, gamma):
    """Make an ICC profile (version 2) of three primaries, columns of D50 XYZ, and a gamma."""

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz((0.9642, 1, 0.8249))}
    columns = np.transpose(primaries)
    for name, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags |= {name + b"XYZ": xyz(column), name + b"TRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", start + len(body))
    header = size + b"\0\0\0\0\2\x20\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += fixed(0.9642) + fixed(1) + fixed(0.8249)
    return header.ljust(128, b"\0") + table + body


#: Of D50, as in the profiles that Adobe and Apple give away.
ADOBE_RGB = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
DISPLAY_P3 = (
    (0.51512, 0.29198, 0.15710),
    (0.24120, 0.69225, 0.06657),
    (-0.00105, 0.04189, 0.78407),
)
SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
