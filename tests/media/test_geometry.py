"""Videos in the shape and orientation in which they are shown."""

import itertools
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from persona_affect.exceptions import MediaLimitError
from persona_affect.media import VideoWriter, iter_frames, open_clip

from .conftest import numbered_frames, write_video

#: Four corners of different brightness, in a frame that is not square.
CORNERS = np.full((1, 48, 64, 3), 20, np.uint8)
CORNERS[:, :24, :32], CORNERS[:, :24, 32:], CORNERS[:, 24:, :32] = 220, 150, 80


@pytest.fixture(scope="module")
def clip_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("geometry") / "clip.mp4"
    return write_video(path, CORNERS.repeat(4, axis=0)).read_bytes()


def with_matrix(data, matrix):
    """Write a matrix (a, b, c, d), or all nine numbers, into the track header."""
    if len(matrix) == 4:
        a, b, c, d = (round(65536 * value) for value in matrix)
        matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    place = data.index(b"tkhd") + 4 + 40
    return data[:place] + struct.pack(">9i", *matrix) + data[place + 36 :]


def shown_by(matrix):
    """Move every pixel of CORNERS as the definition says: (p, q) to (a p + c q, b p + d q)."""
    a, b, c, d = matrix
    image = CORNERS[0]
    q, p = np.mgrid[: image.shape[0], : image.shape[1]]
    x, y = a * p + c * q, b * p + d * q
    x, y = x - x.min(), y - y.min()
    shown = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    shown[y, x] = image
    return shown


EIGHT = [
    m for m in itertools.product((-1, 0, 1), repeat=4)
    if abs(m[0] * m[3] - m[1] * m[2]) == 1 and sorted(map(abs, m)) == [0, 0, 1, 1]
]  # fmt: skip


@pytest.mark.parametrize("matrix", EIGHT, ids=str)
@pytest.mark.parametrize("scale", [1, 0.5, 2])
def test_every_display_matrix_is_applied(clip_bytes, matrix, scale):
    assert len(EIGHT) == 8
    data = with_matrix(clip_bytes, [scale * value for value in matrix])
    expected = shown_by(matrix)
    for clip in (open_clip(data, 2), open_clip(data)):
        assert clip.shape[1:] == expected.shape
        assert np.abs(clip[0].astype(int) - expected).mean() < 6


def test_a_matrix_of_zeros_says_nothing(clip_bytes):
    assert (
        np.abs(open_clip(with_matrix(clip_bytes, [0] * 9), 1)[0].astype(int) - CORNERS).mean() < 6
    )


@pytest.mark.parametrize(("degrees", "turns"), [(3, 0), (-40, 0), (80, 1), (100, 1), (170, 2)])
def test_other_angles_are_the_nearest_quarter(clip_bytes, degrees, turns):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    clip = open_clip(with_matrix(clip_bytes, (cos, -sin, sin, cos)), 1)
    assert np.abs(clip[0].astype(int) - np.rot90(CORNERS[0], turns)).mean() < 6


def write_with_aspect(path, aspect, size=(720, 576), codec="libx264"):
    width, height = size
    image = np.full((height, width, 3), 60, np.uint8)
    # On square pixels, a disc.
    y, x = np.mgrid[:height, :width]
    image[((x - width / 2) * float(aspect)) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path


def sides(image):
    """Width and height of the bright disc."""
    bright = image[..., 0] > 130
    return np.ptp(np.flatnonzero(bright.any(0))), np.ptp(np.flatnonzero(bright.any(1)))


@pytest.mark.parametrize(
    ("aspect", "size", "shown"),
    [
        (Fraction(64, 45), (720, 576), (1024, 576)),
        (Fraction(16, 15), (720, 576), (768, 576)),
        (Fraction(8, 9), (720, 480), (640, 480)),
        (Fraction(4, 3), (240, 180), (320, 180)),
        (Fraction(1, 1), (240, 180), (240, 180)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_pixels_become_square(tmp_path, aspect, size, shown, suffix):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = write_with_aspect(tmp_path / f"clip.{suffix}", aspect, size, codec)
    for clip in (open_clip(path), open_clip(path, 1)):
        assert clip.shape[1:3] == shown[::-1]
        width, height = sides(clip[0])
        assert abs(width - height) <= 4


def test_square_pixels_are_turned_with_the_frame(tmp_path):
    path = write_with_aspect(tmp_path / "clip.mp4", Fraction(4, 3), (240, 180))
    assert open_clip(with_matrix(path.read_bytes(), (0, 1, -1, 0)), 1).shape == (1, 320, 180, 3)


def test_a_written_video_keeps_shape_and_orientation(tmp_path):
    path = write_with_aspect(tmp_path / "clip.mp4", Fraction(64, 45))
    path.write_bytes(with_matrix(path.read_bytes(), (0, 1, -1, 0)))
    frames = list(iter_frames(path))
    size = frames[0].image.shape[1::-1]
    assert size == (576, 1024)
    with VideoWriter(tmp_path / "written.mp4", rate=25, size=size) as video:
        for frame in frames:
            video.write(frame.image, frame.time)
    with av.open(str(tmp_path / "written.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (576, 1024)
        assert stream.sample_aspect_ratio in (None, 0, 1)
    width, height = sides(open_clip(tmp_path / "written.mp4", 1)[0])
    assert abs(width - height) <= 4


def test_senseless_aspects_are_ignored_and_large_ones_limited(tmp_path):
    path = write_with_aspect(tmp_path / "thin.mp4", Fraction(1, 200), (64, 48))
    assert open_clip(path, 1).shape == (1, 48, 64, 3)
    path = write_with_aspect(tmp_path / "wide.mp4", Fraction(4, 1), (64, 48))
    assert open_clip(path, 1).shape == (1, 48, 256, 3)
    with pytest.raises(MediaLimitError, match="256 x 48 pixels"):
        open_clip(path, 1, max_pixels=10_000)


def test_a_clip_without_any_of_this_is_unchanged(tmp_path):
    frames = numbered_frames(3)
    path = write_video(tmp_path / "clip.mp4", frames)
    assert np.abs(open_clip(path).astype(int) - frames).mean() < 6
