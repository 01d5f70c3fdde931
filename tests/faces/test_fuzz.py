"""Damaged photos and clips: a named error or a result, never anything else.

The number of cases of the slow test is set by ``PERSONA_AFFECT_FUZZ_CASES`` (2,000 by default).
"""

import faulthandler
import io
import os
import resource
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from persona_affect import FaceAligner
from persona_affect.exceptions import MediaWarning, PersonaAffectError
from persona_affect.media import is_clip, open_photo, sample_frames

N_CASES = int(os.environ.get("PERSONA_AFFECT_FUZZ_CASES", "2000"))
#: Seconds after which one case counts as a hang: the process then ends with a traceback.
HANG = 120
#: What the whole run may add to the process's peak memory.
MEMORY_MIB = 1500
MAX_PIXELS = 2**22


def encode_photo(photo, format, **options):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, format, **options)
    return buffer.getvalue()


def encode_clip(frames, format, codec):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def originals(drawn_faces):
    """Whole files of many kinds."""
    photo = np.ascontiguousarray(drawn_faces[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    clip = np.stack([photo] * 12)
    files = [
        encode_photo(photo, "JPEG", exif=exif),
        encode_photo(photo, "JPEG", progressive=True),
        encode_photo(photo, "PNG"),
        encode_photo(photo, "GIF"),
        encode_photo(photo, "TIFF", compression="tiff_lzw"),
        encode_photo(photo, "WEBP"),
        encode_photo(photo, "BMP"),
        encode_clip(clip, "mp4", "libx264"),
        encode_clip(clip, "matroska", "libx264"),
        encode_clip(clip, "avi", "mpeg4"),
        encode_clip(clip, "webm", "libvpx"),
        encode_clip(clip, "mpeg", "mpeg1video"),
    ]
    folder = os.environ.get("PERSONA_AFFECT_DATA")
    if folder is not None:
        files.append(min(Path(folder, "omi/images").glob("*.jpg")).read_bytes())
        files.append(min(Path(folder, "grid").glob("*.mpg")).read_bytes())
    return files


def damage(data, rng):
    """Flip, cut, overwrite, repeat or drop bytes; half of the time near the start."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        size = len(data)
        if size < 8:
            break
        reach = min(size, 400) if rng.random() < 0.5 else size
        place = int(rng.integers(reach))
        length = int(rng.integers(1, 64))
        kind = rng.integers(6)
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place : place + length] = rng.bytes(len(data[place : place + length]))
        elif kind == 2:
            data[place : place + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        else:
            del data[int(rng.integers(1, size)) :]
    return bytes(data)


def read(data, rng):
    """Return the frames of a sample as the aligner would read them."""
    if not is_clip(data):
        return [open_photo(data, max_pixels=MAX_PIXELS)]
    n_frames = [None, 3][rng.integers(2)]
    frames = sample_frames(data, n_frames, [], max_pixels=MAX_PIXELS, max_duration=600)
    return [frame.image for frame in frames]


def run(originals, n_cases, seed):
    rng = np.random.default_rng(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n_read = n_refused = 0
    for case in range(n_cases):
        data = damage(originals[rng.integers(len(originals))], rng)
        faulthandler.dump_traceback_later(HANG, exit=True)
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata, in its own words.
            warnings.simplefilter("ignore")
            try:
                frames = read(data, rng)
            except PersonaAffectError:
                n_refused += 1
                continue
            except Exception as error:
                raise AssertionError(f"case {case} of seed {seed}: {error!r}") from error
            finally:
                faulthandler.cancel_dump_traceback_later()
        n_read += 1
        for frame in frames:
            assert frame.dtype == np.uint8
            assert frame.ndim == 3
            assert frame.shape[2] == 3
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{n_cases} cases: {n_read} read, {n_refused} refused, memory grew by {grown:.0f} MiB")
    assert n_read > 0
    assert n_refused > 0
    assert grown < MEMORY_MIB


def test_some_damaged_files(originals):
    run(originals, 150, seed=0)


@pytest.mark.slow
def test_many_damaged_files(originals):
    run(originals, N_CASES, seed=1)


def test_a_batch_of_damaged_files(originals):
    rng = np.random.default_rng(2)
    X = [damage(original, rng) for original in originals] + [originals[2]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", MediaWarning)
        with pytest.warns(MediaWarning, match="samples were not read in full"):
            clips = FaceAligner(on_error="warn", n_frames=2).transform(X)
    assert len(clips) == len(X)
    assert len(clips[-1]) == 1
