import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from persona_affect import FaceAligner, JointAffectEstimator, RAMRegressor, load_model, save_model
from persona_affect._files import (
    atomic_write,
    check_different,
    check_output,
    check_output_folder,
    open_locked,
)
from persona_affect.exceptions import OutputError, OutputInUseError, OutputPathError
from persona_affect.media import VideoWriter

no_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")


@contextmanager
def limited_files(n_bytes):
    """Let files grow to `n_bytes` alone, as on a disk that is nearly full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def links(tmp_path):
    """An input, and other paths that lead to it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    source = folder / "source.mp4"
    source.write_bytes(b"content")
    (tmp_path / "link.mp4").symlink_to(source)
    (tmp_path / "links").symlink_to(folder)
    os.link(source, tmp_path / "hard.mp4")
    return source


@no_links
@pytest.mark.parametrize(
    "output",
    [
        "folder/source.mp4",
        "folder/../folder/source.mp4",
        "link.mp4",
        "links/source.mp4",
        "hard.mp4",
    ],
)
def test_an_output_that_is_an_input_is_refused(tmp_path, links, output):
    inside = f"{links}/day/0001.jpg"  # as in an archive
    for inputs in ([links], [b"", None, str(links)], [tmp_path / "link.mp4"], [inside]):
        with pytest.raises(OutputPathError, match=r"is also an input"):
            check_output(tmp_path / output, inputs=inputs)
    assert links.read_bytes() == b"content"


@no_links
def test_files_of_an_input_folder_are_not_replaced(tmp_path, links):
    inputs = [tmp_path / "links"]
    with pytest.raises(OutputPathError, match="which is an input"):
        check_output(links, inputs=inputs)
    with pytest.raises(OutputPathError, match="which is an input"):
        check_output_folder(links.parent, inputs=inputs)
    assert check_output(links.parent / "new.mp4", inputs=inputs)
    assert check_output_folder(links.parent / "new", inputs=inputs)
    assert not (links.parent / "new").exists()


@no_links
def test_two_outputs_are_two_files(tmp_path, links):
    check_different([tmp_path / "a.csv", tmp_path / "b.csv", links])
    for paths in ([tmp_path / "a", tmp_path / "folder/../a"], [links, tmp_path / "hard.mp4"]):
        with pytest.raises(OutputPathError, match="named twice"):
            check_different(paths)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/a.csv", "the folder .*nowhere does not exist"),
        ("there/a.csv", "the folder .*there does not exist"),
        ("folder.csv", "is a folder"),
        ("a.txt", "must end in .csv or .jsonl"),
        ("fifo.csv", "no ordinary file"),
    ],
)
def test_outputs_are_checked_first(tmp_path, name, message):
    (tmp_path / "there").touch()
    (tmp_path / "folder.csv").mkdir()
    if name.startswith("fifo"):
        getattr(os, "mkfifo", lambda _: pytest.skip("no pipes with names"))(tmp_path / name)
    with pytest.raises(OutputPathError, match=message):
        check_output(tmp_path / name, suffixes=(".csv", ".jsonl"))


def test_folders_are_checked_first(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "file/below/it"):
        with pytest.raises(OutputPathError, match=f"{tmp_path / 'file'} is a file"):
            check_output_folder(tmp_path / name)


def test_read_only_folders_are_refused_first(tmp_path, monkeypatch):
    # As root, nothing is read-only; what the system answers is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for check in (check_output, check_output_folder):
        with pytest.raises(OutputPathError, match=f"nothing can be written to the .*{tmp_path}"):
            check(tmp_path / "new")


def test_a_full_disk_is_named_and_keeps_the_file_before(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(b"before")
    with (
        limited_files(10_000),
        pytest.raises(OutputError, match=f"{path} cannot be written: .*large") as caught,
        atomic_write(path) as draft,
    ):
        draft.write_bytes(bytes(20_000))
    assert draft.name not in str(caught.value)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["result.bin"]


def test_errors_about_other_files_pass(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "result"):
        (tmp_path / "other").read_bytes()
    with (
        pytest.raises(OutputError, match=r"result cannot be written") as caught,
        atomic_write(tmp_path / "result") as draft,
    ):
        raise PermissionError(errno.EACCES, f"Cannot open {draft}")
    assert draft.name not in str(caught.value)


def test_a_model_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "model.safetensors"
    emotion, traits = np.eye(3, 2), np.eye(3)
    model = RAMRegressor(max_epochs=1, random_state=0).fit(emotion, traits)
    save_model(model, path)
    before = path.read_bytes()
    with limited_files(100), pytest.raises(OutputError, match=f"{path} cannot be written"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]
    save_model(model, path)
    assert load_model(path).predict(emotion).shape == (3, 3)


def test_models_and_videos_do_not_replace_what_they_are_made_of(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    model = make_pipeline(FaceAligner(), JointAffectEstimator("resnet29", weights=str(path)))
    with pytest.raises(OutputPathError, match="is also an input"):
        save_model(model, path)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"clip")
    with pytest.raises(OutputError, match="is also an input"):
        VideoWriter(clip, rate=25, size=(64, 48), audio_from=str(clip))
    assert (path.read_bytes(), clip.read_bytes()) == (b"weights", b"clip")


def test_one_run_at_a_time_has_a_file(tmp_path):
    path = tmp_path / "rows.partial"
    with open_locked(path) as file:
        file.write(b"kept")
        with pytest.raises(OutputInUseError, match="in use by another run"):
            open_locked(path)
    with open_locked(path) as file:
        file.seek(0)
        assert file.read() == b"kept"


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "rows.partial"
    script = (
        "import sys; from pathlib import Path; from persona_affect._files import open_locked\n"
        "file = open_locked(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline().strip() == b"locked"
        with pytest.raises(OutputInUseError, match="in use by another run"):
            open_locked(path)
        process.kill()
        process.wait()
        open_locked(path).close()
