"""Face stores filled by several processes, and `persona-affect align`."""

import importlib
import os
import sys
import warnings

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from persona_affect import FaceAligner
from persona_affect.app.cli import app
from persona_affect.datasets import make_affect_faces, write_miniature
from persona_affect.distributed import align_in_chunks
from persona_affect.exceptions import NoFaceWarning
from persona_affect.faces import _caching, store_faces

#: A module that workers can import: a path for which the first `lives` processes die.
MORTAL = """
import os, pathlib, signal

class Mortal(os.PathLike):
    def __init__(self, path, graves, lives):
        self.path, self.graves, self.lives = path, graves, lives

    def __fspath__(self):
        for i in range(self.lives):
            try:
                pathlib.Path(self.graves, str(i)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return self.path
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    faces = make_affect_faces(5, halves="personality", random_state=0).data
    for i, face in enumerate([*faces, np.zeros((80, 80, 3), np.uint8)]):
        Image.fromarray(face).save(folder / f"{i}.png")
    (folder / "6.png").write_bytes(b"no photo")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def alone(photos):
    """Each photo aligned by itself."""
    return [FaceAligner().transform([photo])[0] for photo in photos[:6]]


@pytest.fixture
def mortal(tmp_path, monkeypatch):
    (tmp_path / "mortal.py").write_text(MORTAL)
    (tmp_path / "graves").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("mortal")
    cloudpickle.register_pickle_by_value(module)
    yield lambda photo, lives: module.Mortal(str(photo), str(tmp_path / "graves"), lives)
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["mortal"]


def assert_stored(cache, photos, alone, monkeypatch):
    """Check that every photo is in the store, with the pixels of `alone`."""
    with monkeypatch.context() as patch:
        patch.setattr(_caching, "align_samples", None)
        found = FaceAligner(cache=cache).transform(photos[:6])
    assert [len(clip) for clip in found] == [1] * 5 + [0]
    assert all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))


@pytest.mark.parametrize(("chunk_size", "n_jobs"), [(2, 2), (7, None)])
def test_what_is_stored_does_not_depend_on_who_stored_it(
    photos, alone, tmp_path, monkeypatch, chunk_size, n_jobs
):
    aligner = FaceAligner(cache=tmp_path, batch_size=3)
    report = align_in_chunks(aligner, photos, chunk_size=chunk_size, n_jobs=n_jobs)
    assert report.n_frames.tolist() == [1] * 5 + [0, 0]
    assert report["sample"].tolist() == [str(photo) for photo in photos]
    assert report.remark[:6].tolist() == [""] * 6
    assert report.remark[6] != ""
    assert_stored(tmp_path, photos, alone, monkeypatch)


def test_the_cache_of_transform_stores_the_same(photos, alone, tmp_path, monkeypatch):
    FaceAligner(cache=tmp_path).transform(photos[:6])
    assert_stored(tmp_path, photos, alone, monkeypatch)


def test_what_another_process_has_stored_is_not_aligned_again(photos, tmp_path, monkeypatch):
    aligner = FaceAligner(cache=tmp_path)
    assert [row.n_frames for row in store_faces(aligner, photos[:1])] == [1]
    FaceAligner(cache=tmp_path).transform(photos[:4])  # has a file of its own in the store
    asked = []
    align = _caching.align_samples

    def count(settings, samples, numbers):
        asked.extend(samples)
        return align(settings, samples, numbers)

    monkeypatch.setattr(_caching, "align_samples", count)
    assert [row.n_frames for row in store_faces(aligner, photos[:5])] == [1] * 5
    assert asked == [photos[4]]


def test_a_killed_worker_costs_a_chunk(photos, alone, tmp_path, monkeypatch, mortal):
    samples = [*photos[:3], mortal(photos[3], 1), *photos[4:6]]
    aligner = FaceAligner(cache=tmp_path / "faces")
    report = align_in_chunks(aligner, samples, chunk_size=1, n_jobs=2)
    assert len(list((tmp_path / "graves").iterdir())) == 1
    assert report.n_frames.tolist() == [1] * 5 + [0]
    assert_stored(tmp_path / "faces", photos, alone, monkeypatch)


@pytest.mark.slow
def test_workers_that_always_die_are_an_error(photos, tmp_path, mortal):
    aligner = FaceAligner(cache=tmp_path / "faces")
    with pytest.raises(RuntimeError, match="Workers died 3 times"):
        align_in_chunks(aligner, [mortal(photos[3], 9), photos[0]], chunk_size=2, n_jobs=2)


def test_an_aligner_without_a_cache_is_refused(photos):
    with pytest.raises(ValueError, match=r"FaceAligner\(cache="):
        store_faces(FaceAligner(), photos[:1])


def test_align_then_train_finds_every_face(tmp_path, monkeypatch):
    write_miniature("omi", tmp_path / "omi", n_clips=6)
    faceless = sorted((tmp_path / "omi" / "images").iterdir())[2]
    Image.new("RGB", (90, 90)).save(faceless)
    report, cache = tmp_path / "report.csv", tmp_path / "faces"
    command = ["align", str(tmp_path / "omi"), "--cache", str(cache), "--report", str(report)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "5 of 6 samples have faces" in result.output
    assert f"{faceless.name}: no face was found" in result.output
    table = pd.read_csv(report)
    assert table.n_frames.sum() == 5
    without = table["sample"][table.n_frames == 0]
    assert [os.path.basename(path) for path in without] == [faceless.name]
    monkeypatch.setattr(_caching, "align_samples", None)
    command = ["train", str(tmp_path / "omi"), "--cache", str(cache), "--epochs", "1"]
    command += ["--segments", "1", "--output", str(tmp_path / "model.safetensors")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoFaceWarning)
        trained = CliRunner().invoke(app, command)
    assert trained.exit_code == 0, trained.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cache", "DATA"], "which is an input"),
        (["--cache", "x", "--report", "x.txt"], "must end in .csv"),
        (["--cache", "x", "--scheduler-file", "none.json"], "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(tmp_path, monkeypatch, arguments, message):
    write_miniature("omi", tmp_path / "omi", n_clips=2)
    monkeypatch.chdir(tmp_path)
    root = str(tmp_path / "omi")
    arguments = [root if argument == "DATA" else argument for argument in arguments]
    result = CliRunner().invoke(app, ["align", root, *arguments])
    assert result.exit_code == 2
    assert message in result.output
