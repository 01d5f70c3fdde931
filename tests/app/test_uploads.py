import io
import os
import time

import pytest
from starlette.exceptions import HTTPException

from persona_affect.app._uploads import SMALLEST, Uploads
from persona_affect.exceptions import MediaReadError


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path, max_bytes=10 * SMALLEST, seconds=60)


@pytest.fixture
def file(uploads):
    return uploads.add(io.BytesIO(b"photo"))


def test_an_upload_is_deleted_after_use(uploads, file):
    with uploads.using(str(file)) as path:
        assert path.read_bytes() == b"photo"
    assert not file.exists()


def test_an_upload_is_deleted_if_its_use_fails(uploads, file):
    with pytest.raises(ZeroDivisionError), uploads.using(str(file)):
        _ = 1 / 0
    assert not file.exists()


def test_who_uploads_the_same_photo_does_not_lose_it_to_another(uploads, file):
    twin = uploads.add(io.BytesIO(b"photo"))
    with uploads.using(str(file)):
        pass
    assert twin.read_bytes() == b"photo"
    with uploads.using(str(twin)):
        pass
    assert not twin.exists()


def test_a_second_use_is_answered_by_name(uploads, file):
    with uploads.using(str(file)):
        pass
    with pytest.raises(MediaReadError, match="upload it again"), uploads.using(str(file)):
        pass


def test_what_is_not_an_upload_is_refused_and_does_not_affect_others(uploads, file, tmp_path):
    other = tmp_path / "other.jpg"
    other.write_bytes(b"other")
    for path in (file.parent, tmp_path, other, "", ".", "/", f"{file.parent}/../other.jpg", "\0"):
        with pytest.raises(MediaReadError, match="upload it again"), uploads.using(str(path)):
            pass
    uploads.sweep()
    assert other.exists()
    with uploads.using(str(file)) as path:
        assert path.read_bytes() == b"photo"


def test_a_deletion_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    uploads = Uploads(tmp_path, max_bytes=10 * SMALLEST, seconds=-1)
    files = [uploads.add(io.BytesIO(b"photo")) for _ in range(3)]
    files[0].unlink()
    files[0].mkdir()
    (files[0] / "inside").touch()
    files[1].unlink()
    uploads.sweep()
    assert not any(file.exists() for file in files)


def test_uploads_have_a_quota_that_is_given_back(uploads):
    files = [uploads.add(io.BytesIO(b"small")) for _ in range(10)]
    with pytest.raises(HTTPException) as caught:
        uploads.reserve(1)
    assert caught.value.status_code == 503
    with uploads.using(str(files[0])):
        pass
    uploads.reserve(SMALLEST)
    with pytest.raises(HTTPException):
        uploads.reserve(1)
    uploads.release(SMALLEST)
    uploads.reserve(SMALLEST)


def test_an_upload_that_is_never_used_is_deleted_and_gives_its_room_back(tmp_path):
    uploads = Uploads(tmp_path, max_bytes=SMALLEST, seconds=-1)
    file = uploads.add(io.BytesIO(b"photo"))
    uploads.sweep()
    assert not file.exists()
    assert not uploads.has(str(file))
    uploads.reserve(SMALLEST)


def test_results_are_deleted_by_age_and_the_oldest_first(uploads):
    made = []
    for i in range(4):
        with uploads.making() as folder:
            (folder / "annotated.mp4").write_bytes(b"0" * 3 * SMALLEST)
        made.append(folder)
        then = time.time() - 40 + 10 * i
        os.utime(folder, (then, then))
    then = time.time() - 61
    os.utime(made[3], (then, then))
    uploads.sweep()
    assert [folder.exists() for folder in made] == [True, True, True, False]
    with uploads.making() as folder:
        (folder / "annotated.mp4").write_bytes(b"0" * 3 * SMALLEST)
    uploads.sweep()
    assert [folder.exists() for folder in made] == [False, True, True, False]


def test_results_that_fail_leave_nothing(uploads):
    folders = []

    def make():
        with uploads.making() as folder:
            folders.append(folder)
            (folder / "annotated.mp4").touch()
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        make()
    assert not folders[0].exists()


def test_only_files_made_of_clips_are_results(uploads, file):
    with uploads.making() as folder:
        clip = folder / "annotated.mp4"
        clip.touch()
    assert uploads.is_result(str(clip))
    for path in (file, folder, uploads.results, "/etc/hostname", f"{clip}/../../../lock", "\0", ""):
        assert not uploads.is_result(str(path))
    (folder / "link").symlink_to(file)
    assert not uploads.is_result(str(folder / "link"))
