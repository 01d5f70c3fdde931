from fractions import Fraction

import av
import numpy as np
import pytest


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
