"""A clip of which some frames are taken gives those that decoding in order gives, to the bit."""

import warnings
from fractions import Fraction

import av
import numpy as np
import pytest

from persona_affect.exceptions import MediaReadError
from persona_affect.media import iter_frames, open_clip

CONTAINERS = ("mp4", "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "nut", "asf", "flv", "mxf")
PIXELS = (
    "yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "rgb24", "bgr24", "rgba", "bgra",
    "yuv422p10le", "gray",
)  # fmt: skip
#: What makes key frames less than that: references across them, hidden and refreshed pictures.
VARIANTS = {
    "libx264": (
        "x264-params=bframes=0", "x264-params=open-gop=1:bframes=3:b-pyramid=normal",
        "x264-params=intra-refresh=1", "x264-params=tff=1:bframes=2",
    ),
    "libx265": (
        "x265-params=log-level=none:open-gop=0",
        "x265-params=log-level=none:open-gop=1:pools=none:frame-threads=1",
    ),
    "libvpx": ("auto-alt-ref=1",),
    "libvpx-vp9": ("auto-alt-ref=1",),
    "libaom-av1": ("usage=realtime",),
    "mpeg4": ("bf=2",),
    "mpeg2video": ("bf=2",),
}  # fmt: skip
#: Encoders that need more than pixels, or take minutes.
LEFT_OUT = {"libx265", "libaom-av1"}


def encoders():
    """Names of all encoders of videos that the installed FFmpeg has."""
    found = []
    for name in sorted(av.codec.codecs_available):
        try:
            codec = av.codec.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        if codec.type == "video":
            found.append(name)
    return found


def moving_blocks(n_frames=40):
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 226, (9, 11, 3))
    for i in range(n_frames):
        shown = np.roll(blocks, (i // 3, i // 2), (0, 1)) + (7 * i) % 40 - 20
        yield shown.clip(0, 255).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)


def encode(path, name, container, option="", times=None):
    """Encode a clip with a key frame about every ten frames; False where that cannot be."""
    key, _, value = option.partition("=")
    formats = [f.name for f in av.codec.Codec(name, "w").video_formats or []]
    pixels = next((p for p in PIXELS if p in formats or not formats), None)
    if pixels is None:
        return False
    try:
        with av.open(str(path), "w", format=container) as file:
            stream = file.add_stream(name, rate=25, options={key: value} if option else {})
            stream.width, stream.height, stream.pix_fmt = 176, 144, pixels
            stream.gop_size = 10
            if times is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            if pixels.startswith("yuvj"):
                stream.codec_context.color_range = 2
            for number, image in enumerate(moving_blocks()):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                if times is not None:
                    frame.pts, frame.time_base = int(times[number]), Fraction(1, 1000)
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True


def check_frames(path):
    """Compare, for several numbers of frames, what is taken with what is shown at its time."""
    frames = list(iter_frames(path))
    times = np.array([frame.time for frame in frames])
    assert (np.diff(times) > 0).all()
    length = times[-1] * len(times) / max(len(times) - 1, 1)
    for n in (1, 2, 3, 7, 16, len(frames)):
        taken = open_clip(path, n)
        for image, centre in zip(taken, (np.arange(n) + 0.5) * length / n, strict=True):
            # At a border of two frames, rounding may choose either.
            first, last = np.searchsorted(times, [centre - 1e-3, centre + 1e-3], side="right") - 1
            near = frames[max(first, 0) : last + 1]
            assert any(np.array_equal(image, frame.image) for frame in near), (
                f"{n} frames: another one than at {centre:.3f} s"
            )


COMMON = [
    ("libx264", "mp4"), ("libx264", "matroska"), ("libx264", "mpegts"), ("mpeg4", "avi"),
    ("libvpx", "webm"), ("mpeg2video", "mpeg"), ("flv", "flv"), ("wmv2", "asf"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "container"), COMMON)
@pytest.mark.filterwarnings("ignore")
def test_frames_of_common_clips(tmp_path, name, container):
    # The best of VP8 takes seconds; it has its turn among the slow tests.
    for option in ("deadline=realtime",) if name == "libvpx" else ("", *VARIANTS.get(name, ())):
        path = tmp_path / "clip"
        assert encode(path, name, container, option)
        check_frames(path)


def drop_packets(path, container, missing):
    """Copy the packets of a clip but for some, as a bad connection or a bad tool does."""
    copy = path.with_name("copy")
    with av.open(str(path)) as old, av.open(str(copy), "w", format=container) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(old.streams.video[0]) if packet.size]
        for number, packet in enumerate(packets):
            if number not in missing:
                packet.stream = stream
                new.mux(packet)
    return copy


@pytest.mark.parametrize(
    ("name", "container", "option"),
    [
        ("libx264", "mp4", ""),
        ("libx264", "mp4", "x264-params=bframes=0"),
        ("mpeg4", "matroska", "bf=2"),
        ("libvpx-vp9", "webm", "deadline=realtime"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_frames_of_clips_with_missing_packets(tmp_path, name, container, option):
    path = tmp_path / "clip"
    assert encode(path, name, container, option)
    for missing in ({10}, {4}, {20, 30}, {2, 9, 10, 14, 24, 25}):
        check_frames(drop_packets(path, container, missing))


@pytest.mark.slow
@pytest.mark.parametrize("name", encoders())
def test_frames_of_every_codec(tmp_path, name):
    n_read = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for container in CONTAINERS:
            for option in ("", *VARIANTS.get(name, ())):
                path = tmp_path / "clip"
                if (name in LEFT_OUT and not option) or not encode(path, name, container, option):
                    continue
                try:
                    list(iter_frames(path))
                except MediaReadError:
                    # FFmpeg writes it, but has no decoder for it, or no container that is read.
                    continue
                try:
                    check_frames(path)
                except AssertionError as error:
                    raise AssertionError(f"{container} {option}: {error}") from error
                n_read += 1
    if not n_read:
        pytest.skip("no container holds it, or the encoder needs other hardware or pixels")


STEPS = np.random.default_rng(0).integers(1, 300, 40)
TIMES = {
    "before zero": 40 * np.arange(40) - 400,
    "late": 40 * np.arange(40) + 5000,
    "variable": np.cumsum(STEPS),
    "with a gap": 40 * np.arange(40) + 10_000 * (np.arange(40) > 20),
}


@pytest.mark.slow
@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("option", ["", *VARIANTS["libx264"]])
@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.filterwarnings("ignore")
def test_frames_of_clips_with_unusual_times(tmp_path, container, option, times):
    path = tmp_path / "clip"
    assert encode(path, "libx264", container, option, times)
    check_frames(path)
