"""Aligned faces on disk: never stale, never lost, shared by processes, never all in memory."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from persona_affect import FaceAligner
from persona_affect._mapping import _map_of
from persona_affect.exceptions import FaceStoreError, MediaReadError, MediaWarning
from persona_affect.faces import _caching, _settings, _store, _store_check
from persona_affect.faces._store import FaceStore
from persona_affect.media import FrameSequence


@pytest.fixture
def files(tmp_path, drawn_faces, faceless):
    """Five photos: three faces, none, and the first again under another name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures = [*drawn_faces[:3], faceless, drawn_faces[0]]
    paths = [folder / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def aligned(monkeypatch):
    """How many samples have been aligned so far."""
    counts = []
    align = _caching.align_samples

    def counting(settings, samples, numbers):
        counts.extend(numbers)
        return align(settings, samples, numbers)

    monkeypatch.setattr(_caching, "align_samples", counting)
    return counts


def assert_same(clips, expected):
    assert len(clips) == len(expected)
    for clip, other in zip(clips, expected, strict=True):
        assert clip.dtype == np.uint8
        assert clip.shape == other.shape
        # What goes through the detector together differs by rounding.
        difference = np.abs(clip.astype(int) - other)
        assert difference.max(initial=0) <= 1
        assert difference.sum() < 1e-3 * max(difference.size, 1)


def test_stored_faces_are_the_faces(files, cache, aligned):
    plain = FaceAligner().transform(files)
    aligned.clear()
    aligner = FaceAligner(cache=cache)
    first = aligner.transform(files)
    assert_same(first, plain)
    assert aligned == [0, 1, 2, 3]
    again = FaceAligner(cache=str(cache)).transform(files[::-1])
    assert_same(again, plain[::-1])
    assert len(aligned) == 4


def test_stored_faces_are_mapped_and_cannot_be_written_to(files, cache):
    clips = FaceAligner(cache=cache).transform(files)
    assert all(_map_of(clip) is not None for clip in clips if len(clip))
    assert _map_of(clips[0]) is _map_of(clips[1])
    with pytest.raises(ValueError, match="read-only"):
        clips[0][0, 0, 0, 0] = 1


def test_every_kind_of_sample(files, cache, drawn_faces, aligned):
    photo = drawn_faces[0]
    X = [
        files[0],
        files[0].read_bytes(),
        Image.open(files[0]),
        photo,
        drawn_faces[:3],
        FrameSequence(tuple(map(str, files))),
    ]
    plain = FaceAligner(n_frames=3).transform(X)
    aligned.clear()
    for _ in range(2):
        assert_same(FaceAligner(n_frames=3, cache=cache).transform(X), plain)
    # The PIL image and the array are the same pixels.
    assert len(aligned) == 5


@pytest.mark.parametrize(
    "parameters",
    [
        {"template": "resnet29"},
        {"n_frames": 1},
        {"select": "centre"},
        {"margin": 0.5},
        {"min_face_size": 60},
        {"thresholds": (0.6, 0.7, 0.9)},
    ],
)
def test_other_settings_are_other_faces(files, cache, aligned, parameters):
    FaceAligner(cache=cache).transform(files[:1])
    changed = FaceAligner(**parameters).transform(files[:1])
    aligned.clear()
    assert_same(FaceAligner(cache=cache, **parameters).transform(files[:1]), changed)
    assert aligned == [0]
    assert len(list(cache.iterdir())) == 2


def test_settings_that_change_no_pixel_share_faces(files, cache, aligned):
    FaceAligner(cache=cache).transform(files)
    aligned.clear()
    other = {"batch_size": 2, "n_jobs": 1, "on_error": "warn", "verbose": False}
    FaceAligner(cache=cache, **other).transform(files)
    assert aligned == []


def test_a_new_algorithm_aligns_anew(files, cache, aligned, monkeypatch):
    FaceAligner(cache=cache).transform(files[:1])
    monkeypatch.setattr(_settings, "ALIGNMENT", -1)
    aligned.clear()
    FaceAligner(cache=cache).transform(files[:1])
    assert aligned == [0]


def test_the_version_of_the_algorithm_is_that_of_these_pixels(drawn_faces):
    # If this fails for good reason, raise ALIGNMENT and take the new numbers.
    assert _settings.ALIGNMENT == 3
    (clip,) = FaceAligner().transform(drawn_faces[:1])
    blocks = clip[0].reshape(4, 28, 4, 24, 3).mean(axis=(1, 3, 4))
    expected = [
        [96.8, 86.2, 96.6, 140.6],
        [71.9, 79.0, 84.1, 104.9],
        [73.2, 82.7, 90.8, 101.9],
        [89.9, 64.9, 74.3, 123.4],
    ]
    np.testing.assert_allclose(blocks, expected, atol=0.5)


def test_a_changed_file_is_aligned_anew_even_under_its_old_date(files, cache, drawn_faces):
    aligner = FaceAligner(cache=cache)
    before = aligner.transform(files[:1])
    stat = files[0].stat()
    pixels = np.asarray(Image.open(files[1]))
    Image.fromarray(pixels).save(files[0])
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = aligner.transform(files[:1])
    assert_same(after, FaceAligner().transform(files[1:2]))
    assert not np.array_equal(before[0], after[0])


def test_a_file_that_changes_meanwhile_is_not_stored(files, cache, monkeypatch, aligned):
    align = _caching.align_samples

    def meddling(settings, samples, numbers):
        outcomes = align(settings, samples, numbers)
        files[0].write_bytes(files[1].read_bytes())
        return outcomes

    monkeypatch.setattr(_caching, "align_samples", meddling)
    FaceAligner(cache=cache).transform(files[:1])
    monkeypatch.setattr(_caching, "align_samples", align)
    clips = FaceAligner(cache=cache).transform(files[:1])
    assert_same(clips, FaceAligner().transform(files[1:2]))


def test_unreadable_samples_are_not_stored_and_cost_no_other(files, cache, aligned):
    files[1].write_bytes(b"text")
    with pytest.raises(MediaReadError, match=r"sample 1 .*1\.png"):
        FaceAligner(cache=cache, batch_size=1).transform(files)
    aligned.clear()
    for _ in range(2):
        with pytest.warns(MediaWarning, match=r"sample 1 .*1\.png"):
            clips = FaceAligner(cache=cache, on_error="warn").transform(files)
        assert len(clips[1]) == 0
    # Sample 0 was stored before the error, and 1 is tried each time.
    assert aligned == [1, 2, 3, 1]


def test_remarks_are_repeated(files, cache):
    clip = FrameSequence((str(files[0]), str(files[0].with_name("broken.png"))))
    files[0].with_name("broken.png").write_bytes(b"text")
    for _ in range(2):
        with pytest.warns(MediaWarning, match=r"sample 0 .*broken\.png") as caught:
            (faces,) = FaceAligner(cache=cache, n_frames=2).transform([clip])
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert len(faces) == 1


def test_what_was_cut_short_is_aligned_again(files, cache, aligned):
    plain = FaceAligner().transform(files)
    FaceAligner(cache=cache).transform(files)
    (shard,) = cache.glob("*/*.faces")
    (index,) = cache.glob("*/*.jsonl")
    lines = index.read_text().splitlines(keepends=True)
    aligned.clear()
    # Killed while it wrote a line; a disk that lost the end of the pixels.
    index.write_text("".join(lines[:2]) + lines[2][:20])
    assert_same(FaceAligner(cache=cache).transform(files), plain)
    assert aligned == [2, 3]
    with shard.open("r+b") as file:
        file.truncate(shard.stat().st_size // 2)
    aligned.clear()
    assert_same(FaceAligner(cache=cache).transform(files), plain)
    assert aligned == [1]


def test_a_full_disk_loses_only_what_was_being_written(files, cache, monkeypatch, aligned):
    settle, calls = _store._settle, []

    def full_once(file):
        calls.append(file)
        if len(calls) == 3:  # the pixels of the second batch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        settle(file)

    monkeypatch.setattr(_caching, "_SAMPLES", 2)
    monkeypatch.setattr(_store, "_settle", full_once)
    with pytest.raises(FaceStoreError, match=r"No space left.*continues from them"):
        FaceAligner(cache=cache, batch_size=2).transform(files)
    plain = FaceAligner().transform(files)
    aligned.clear()
    for _ in range(2):
        assert_same(FaceAligner(cache=cache, batch_size=2).transform(files), plain)
    assert aligned == [2, 3]


def change_a_pixel(folder):
    (path,) = folder.glob("*.faces")
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)


def cut_the_pixels(folder):
    (path,) = folder.glob("*.faces")
    path.unlink()
    path.touch()
    os.truncate(path, 10**7)


ALTERATIONS = {
    "a pixel": change_a_pixel,
    "zeros for pixels": cut_the_pixels,
    "a key that is a number": lambda folder: edit_index(folder, lambda line: [7, *line[1:]]),
    "a negative place": lambda folder: edit_index(folder, lambda line: [line[0], -1, *line[2:]]),
    "a place in words": lambda folder: edit_index(folder, lambda line: [line[0], "0", *line[2:]]),
    "a short line": lambda folder: edit_index(folder, lambda line: line[:2]),
    "a line of another kind": lambda folder: edit_index(folder, lambda line: None),
}


def edit_index(folder, edit):
    (path,) = folder.glob("*.jsonl")
    lines = [json.dumps(edit(json.loads(line))) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_store_is_refused_by_name(files, cache, alteration):
    FaceAligner(cache=cache).transform(files)
    (folder,) = cache.iterdir()
    ALTERATIONS[alteration](folder)
    with pytest.raises(FaceStoreError, match=f"altered or damaged: remove {folder}"):
        FaceAligner(cache=cache).transform(files)


def test_folders_that_cannot_hold_faces(files, cache, tmp_path):
    with pytest.raises(FaceStoreError, match="cannot hold aligned faces"):
        FaceAligner(cache=files[0]).transform(files)
    FaceAligner(cache=cache).transform(files[:1])
    (manifest,) = cache.glob("*/manifest.json")
    assert json.loads(manifest.read_text())["settings"]["margin"] == 0.0
    manifest.write_text("{}")
    with pytest.raises(FaceStoreError, match="was altered"):
        FaceAligner(cache=cache).transform(files[:1])


def _align_all(arguments):
    cache, files = arguments
    return [clip.copy() for clip in FaceAligner(cache=cache, batch_size=1).transform(files)]


@pytest.mark.slow
def test_processes_share_a_folder(files, cache):
    plain = FaceAligner().transform(files)
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        forth, back = pool.map(_align_all, [(cache, files), (cache, files[::-1])])
    assert_same(forth, plain)
    assert_same(back, plain[::-1])
    assert_same(FaceAligner(cache=cache).transform(files), plain)


ALIGN = """
import sys
from persona_affect import FaceAligner
FaceAligner(cache=sys.argv[1], batch_size=1).transform(sys.argv[2:])
"""


@pytest.mark.slow
def test_a_killed_run_is_resumed(files, cache, drawn_faces, aligned):
    for i in range(40):
        picture = np.roll(drawn_faces[i % 12], i, axis=1)
        files.append(files[0].with_name(f"more{i}.png"))
        Image.fromarray(picture).save(files[-1])
    process = subprocess.Popen([sys.executable, "-c", ALIGN, str(cache), *map(str, files)])
    stored = 0
    while process.poll() is None and stored < 3:
        stored = sum(len(index.read_bytes().splitlines()) for index in cache.glob("*/*.jsonl"))
    process.kill()
    process.wait()
    clips = FaceAligner(cache=cache).transform(files)
    assert 0 < len(aligned) < len(files) - 3
    assert_same(clips, FaceAligner().transform(files))


@pytest.mark.slow
def test_workers_of_one_call(files, cache):
    plain = FaceAligner().transform(files)
    assert_same(FaceAligner(cache=cache, n_jobs=2, batch_size=2).transform(files), plain)


def test_a_new_file_is_begun_when_one_is_full(cache, monkeypatch):
    monkeypatch.setattr("persona_affect.faces._store._SHARD_BYTES", 100)
    store = FaceStore(cache, {}, (4, 4))
    faces = np.arange(10 * 48, dtype=np.uint8).reshape(10, 4, 4, 3)
    for i, face in enumerate(faces):
        store.add([(str(i), [face], [])])
    store.close()
    assert len(list(cache.glob("*/*.faces"))) == 4
    again = FaceStore(cache, {}, (4, 4))
    assert len(again) == 10
    for i, face in enumerate(faces):
        np.testing.assert_array_equal(again.get(str(i))[0][0], face)


@pytest.fixture
def small_store(cache, monkeypatch):
    """A store of 20 faces that was opened and checked once, and what has been read since."""
    faces = np.random.default_rng(0).integers(0, 256, (20, 1, 4, 4, 3), np.uint8)
    store = FaceStore(cache, {}, (4, 4))
    store.add([(str(i), face, []) for i, face in enumerate(faces)])
    store.add([("none", faces[0][:0], ["no face found"])])
    store.close()
    read, check = [], _store.check_faces
    monkeypatch.setattr(_store_check, "_SETTLED", 0.0)
    monkeypatch.setattr(
        _store, "check_faces", lambda *given: (read.extend(given[2]), check(*given))
    )
    return faces, read


def test_faces_that_were_checked_are_not_read_again(cache, small_store):
    faces, read = small_store
    keys = [*map(str, range(20)), "none"]
    for _ in range(3):
        store = FaceStore(cache, {}, (4, 4))
        store.check(keys)
        assert len(read) == 20
        for key, face in zip(keys, faces, strict=False):
            np.testing.assert_array_equal(store.get(key)[0], face)
    # A few faces of a file are checked alone, and nothing is noted.
    (note,) = cache.glob("*/*.checked")
    note.unlink()
    FaceStore(cache, {}, (4, 4)).check(["3"])
    assert len(read) == 21
    assert not note.exists()


@pytest.mark.parametrize("kind", ["faces", "jsonl"])
def test_a_file_that_changed_after_its_check_is_checked_again(cache, small_store, kind):
    FaceStore(cache, {}, (4, 4)).check(map(str, range(20)))
    (path,) = cache.glob(f"*/*.{kind}")
    stat = path.stat()
    if kind == "faces":
        change_a_pixel(path.parent)
    else:
        edit_index(path.parent, lambda line: [*line[:3], line[3] ^ 1, *line[4:]])
    # A program may set the old date again.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    store = FaceStore(cache, {}, (4, 4))
    store.check(map(str, range(20)))
    with pytest.raises(FaceStoreError, match="was altered"):
        store.get("0")
    if kind == "faces":
        assert store.get("19")[0].shape == (1, 4, 4, 3)


MEMORY = """
import re, sys
import numpy as np
from persona_affect.estimators._batches import LabelledClips
from persona_affect.faces import _settings, _store
from persona_affect.faces._store import FaceStore

def resident(kind):
    return int(re.search(kind + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

store = FaceStore(sys.argv[1], {}, (112, 96))
n = 3000
if not len(store):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (100, 112, 96, 3), np.uint8)
    store.add([(str(i), noise[i % 100 : i % 100 + 1], []) for i in range(n)])
    store.close()
    sys.exit()
X = np.empty(n, object)
for i in range(n):
    X[i] = store.get(str(i))[0]
y = np.random.default_rng(0).uniform(size=(n, 5))

labels = {"personality": y}
data = LabelledClips(list(X), labels, 1)
before = resident("RssFile")
peak = 0
for batch in data.centres(64):
    peak = max(peak, resident("RssFile"))
print(peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads /proc")
def test_mapped_faces_do_not_stay_in_memory(cache):
    command = [sys.executable, "-c", MEMORY, str(cache)]
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    # The faces are 92 MiB, a batch 2.
    assert float(result.stdout) < 30


def test_no_warning_without_a_reason(files, cache):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FaceAligner(cache=cache).transform(files)
