"""Frames of mapped files are read from the files, and are those of the map."""

import os

import numpy as np
import pytest

from persona_affect._mapping import FrameReader, map_bytes, read_array
from persona_affect.exceptions import FaceStoreError
from persona_affect.faces import FaceClip

SHAPE = (4, 3, 3)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "a.faces"
    frames = np.random.default_rng(0).integers(0, 256, (50, *SHAPE), np.uint8)
    path.write_bytes(frames.tobytes())
    return path, map_bytes(path).reshape(-1, *SHAPE), frames


def test_all_kinds_of_clips_are_read(stored, tmp_path):
    _, mapped, frames = stored
    other = tmp_path / "b.faces"
    other.write_bytes(frames[::-1].tobytes())
    later = map_bytes(other).reshape(-1, *SHAPE)
    clips = [
        mapped[10:20],
        FaceClip(mapped[30:40], (0, 5)),
        mapped[40:][::-1],  # not as in the file: copied
        mapped[:10, :, ::-1],
        later[5:9],
        frames[:3],  # in memory
        mapped[7:7],  # no frames
    ]
    reader = FrameReader(clips)
    rng = np.random.default_rng(1)
    for _ in range(20):
        clip_of = rng.integers(0, 6, 30)
        rows = np.array([rng.integers(len(clips[i])) for i in clip_of])
        expected = np.stack(
            [np.asarray(clips[i])[row] for i, row in zip(clip_of, rows, strict=True)]
        )
        np.testing.assert_array_equal(reader.read_rows(clip_of, rows), expected)
    whole = reader.read_rows(np.zeros(10, int), np.arange(10))
    np.testing.assert_array_equal(whole, frames[10:20])
    assert reader.read_rows(np.arange(0), np.arange(0)).shape == (0, *SHAPE)
    np.testing.assert_array_equal(read_array(mapped), frames)
    assert read_array(frames) is frames


def test_frames_beside_each_other_are_read_in_one_call(stored, monkeypatch):
    _, mapped, frames = stored
    reader = FrameReader([mapped[:20], mapped[20:]])
    calls, read = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: calls.append(given) or read(*given))
    order = np.random.default_rng(0).permutation(50)
    order = order[(order != 7) & (order != 30)]
    clip_of = (order >= 20).astype(int)
    found = reader.read_rows(clip_of, order - 20 * clip_of)
    np.testing.assert_array_equal(found, frames[order])
    assert [len(parts) for _, parts, _ in calls] == [7, 22, 19]
    # The system may give less than was asked for.
    monkeypatch.setattr(os, "preadv", lambda file, parts, at: read(file, [parts[0][:25]], at))
    np.testing.assert_array_equal(reader.read_rows(clip_of, order - 20 * clip_of), frames[order])


def test_maps_of_others_are_not_read_from_their_files(tmp_path):
    path = tmp_path / "own.bin"
    path.write_bytes(bytes(10_000))
    own = np.memmap(path, np.uint8, mode="c", shape=(100, 100))
    own[:] = 1
    assert FrameReader([own, own[5:]]).read_rows(np.array([0, 0, 1]), np.arange(3)).all()


def test_a_file_that_became_shorter_is_an_error_and_not_a_crash(stored):
    path, mapped, frames = stored
    reader = FrameReader([mapped])
    os.truncate(path, 20 * frames[0].size)
    np.testing.assert_array_equal(reader.read_rows(np.zeros(20, int), np.arange(20)), frames[:20])
    with pytest.raises(FaceStoreError, match="became shorter"):
        reader.read_rows(np.zeros(10, int), np.arange(15, 25))


def test_the_file_is_closed_with_its_map(tmp_path):
    path = tmp_path / "a.faces"
    path.write_bytes(bytes(100))

    def is_open(number):
        try:
            return os.path.sameopenfile(number, open_file.fileno())
        except OSError:
            return False

    with path.open("rb") as open_file:
        mapped = map_bytes(path)
        number = mapped.base.file if hasattr(mapped.base, "file") else mapped.base.obj.file
        assert is_open(number)
        del mapped
        assert not is_open(number)
