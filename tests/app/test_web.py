"""The page's endpoints, asked by programs."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from persona_affect import ConformalAffect, FrameAnnotator
from persona_affect.exceptions import FewLabelsWarning
from persona_affect.media import VideoWriter, open_clip


@pytest.fixture(scope="module")
def client(served, tmp_path_factory):
    return Client(served.url, verbose=False, download_files=str(tmp_path_factory.mktemp("answers")))


@pytest.fixture
def photo(frames, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(frames[0]).save(path)
    return path


def left_behind(home, kinds):
    return [path for path in home.rglob("*") if path.suffix in kinds]


def test_it_listens_on_this_machine_alone(served):
    assert served.url.startswith("http://127.0.0.1:")


def test_a_photo_is_answered_with_the_pipelines_numbers(client, served, model, photo):
    (row,), report = client.predict(handle_file(photo), api_name="/photo")
    np.testing.assert_allclose(
        [row[name] for name in model[-1].target_names_], model.predict([photo])[0], atol=1e-5
    )
    assert f'data-value="{row["openness"]!r}"' in report
    assert left_behind(served.home, {".png"}) == []


def test_a_clip_is_answered_with_files(client, served, model, clip_file):
    video, rows, subtitles, view = client.predict(handle_file(clip_file), api_name="/video")
    expected = FrameAnnotator(model, detect_every=5).to_dataframe(clip_file)
    pd.testing.assert_frame_equal(pd.read_csv(rows), expected, check_dtype=False, atol=1e-4)
    path = video["video"] if isinstance(video, dict) else video
    assert open_clip(path).shape == (12, 240, 320, 3)
    assert Path(subtitles).read_text("utf-8").startswith("WEBVTT")
    assert "pa-timeline" in view
    names = {path.name for path in left_behind(served.home, {".mp4", ".csv", ".vtt"})}
    assert names == {"annotated.mp4", "annotated.csv", "annotated.vtt"}


@pytest.mark.parametrize(
    ("name", "content", "endpoint", "message"),
    [
        ("text.jpg", b"This is no photo.", "/photo", "not a photo"),
        ("empty.png", b"", "/photo", "empty"),
        ("text.mp4", b"This is no clip.", "/video", "not a video"),
    ],
)
def test_a_bad_upload_gets_a_readable_message(
    client, served, tmp_path, name, content, endpoint, message
):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AppError, match=message) as caught:
        client.predict(handle_file(path), api_name=endpoint)
    assert "Traceback" not in str(caught.value)
    assert str(served.home) not in str(caught.value)
    assert not list(served.home.rglob(name))


def test_limits_on_pixels_and_seconds(client, tmp_path, frames):
    large = tmp_path / "large.png"
    Image.new("1", (6001, 6000)).save(large)
    with pytest.raises(AppError, match="6001 x 6000"):
        client.predict(handle_file(large), api_name="/photo")
    long = tmp_path / "long.mp4"
    with VideoWriter(long, rate=2, size=(320, 240)) as video:
        for frame in frames:
            video.write(frame)
    with pytest.raises(AppError, match="max_duration=2 s"):
        client.predict(handle_file(long), api_name="/video")


def test_a_crowd_is_refused(client, frames, tmp_path):
    face = Image.fromarray(frames[0][:, 40:280]).resize((56, 56))
    crowd = Image.new("RGB", (12 * 56, 12 * 56))
    for i in range(144):
        crowd.paste(face, (i % 12 * 56, i // 12 * 56))
    crowd.save(tmp_path / "crowd.png")
    with pytest.raises(AppError, match="faces, more than max_faces=100"):
        client.predict(handle_file(tmp_path / "crowd.png"), api_name="/photo")


def test_large_photos_are_searched_for_larger_faces(model, frames):
    from persona_affect.app._limits import Limits
    from persona_affect.app._photo_tab import predict_photo

    image = np.full((240, 640, 3), 120, np.uint8)
    image[:, :320] = frames[0]
    image[60:135, 400:500] = np.asarray(Image.fromarray(frames[0]).resize((100, 75)))
    assert len(predict_photo(model, image, Limits())) == 2
    # Faces of 80 pixels and more, in place of 20.
    limits = Limits(search_pixels=240 * 640 // 16)
    (row,) = predict_photo(model, image, limits)
    assert row["height"] > 80


def test_photos_have_intervals_with_a_calibration(model, frames):
    from persona_affect.app._limits import Limits
    from persona_affect.app._photo_tab import predict_photo

    names = model[-1].target_names_
    assert set(predict_photo(model, frames[0], Limits())[0]) >= {"reliability", "remarks"}
    calibrated = ConformalAffect(model, random_state=0)
    # Of the last target there is no rating, and so no interval.
    labels = np.zeros((10, len(names)))
    labels[:, -1] = np.nan
    calibrated.conformalize(np.stack([frames[0]] * 10), labels)
    with pytest.warns(FewLabelsWarning, match=names[-1]):
        (row,) = predict_photo(calibrated, frames[0], Limits())
    shown = {name for name in names if f"{name}_low" in row}
    assert shown == {name for name in names[:-1] if np.isfinite(row[name])}
    assert all(row[f"{name}_low"] < row[name] < row[f"{name}_high"] for name in shown)


def test_uploads_above_the_limit_are_refused(client, tmp_path):
    path = tmp_path / "heavy.png"
    path.write_bytes(b"0" * (2**20 + 1))
    with pytest.raises(ValueError, match="exceeds the maximum file size"):
        client.predict(handle_file(path), api_name="/photo")


def test_the_server_itself_refuses_them(served):
    answer = httpx.post(f"{served.url}gradio_api/upload", files={"files": b"0" * (2**20 + 1)})
    assert answer.status_code == 413


def test_addresses_are_not_fetched(client):
    address = {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="not fetched"):
        client.predict(address, api_name="/photo")


def test_the_name_of_a_file_is_answered_with_what_to_write(client):
    with pytest.raises(AppError, match="handle_file"):
        client.predict("photo.jpg", api_name="/photo")


def join(served, path):
    """Ask for a file in the server's own words, and return what it says."""
    fn = next(
        fn["id"]
        for fn in httpx.get(f"{served.url}config").json()["dependencies"]
        if fn["api_name"] == "photo"
    )
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    message = {"session_hash": uuid.uuid4().hex, "fn_index": fn, "data": [file]}
    url = f"{served.url}gradio_api/queue/"
    assert httpx.post(f"{url}join", json=message).status_code == 200
    session = {"session_hash": message["session_hash"]}
    return httpx.get(f"{url}data", params=session, timeout=30).text


def test_a_reference_to_what_was_not_uploaded_changes_nothing(client, served, photo):
    folder = next(served.home.rglob("uploads"))
    for path in (folder, folder.parent, folder / "..", served.home / "log", "/etc/hostname"):
        said = join(served, path)
        assert '"success":false' in said
        assert "Is a directory" not in said
        rows, _ = client.predict(handle_file(photo), api_name="/photo")
        assert len(rows) == 1
    assert (served.home / "log").exists()


def test_only_what_was_made_of_clips_is_sent(client, served, clip_file):
    upload = httpx.post(f"{served.url}gradio_api/upload", files={"files": b"photo"}).json()[0]
    folder = next(served.home.rglob("uploads"))
    for path in (upload, folder, folder.parent / "lock", served.home / "log", "/etc/hostname"):
        assert httpx.get(f"{served.url}gradio_api/file={path}").status_code == 403
    _, rows, _, _ = client.predict(handle_file(clip_file), api_name="/video")
    assert Path(rows).stat().st_size > 0


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"no form"),
        ({"Content-Type": "multipart/form-data"}, b"--x--"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n\r\nno name\r\n--x--"),
        ({"Content-Type": b"multipart/form-data; boundary=\xff"}, b"--\xff--"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x--\r\n"),
        ({"Content-Type": "application/json"}, b"{}"),
        ({}, b""),
    ],
)
def test_a_malformed_form_is_refused(served, headers, body):
    answer = httpx.post(f"{served.url}gradio_api/upload", content=body, headers=headers)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


def test_a_chunked_upload_is_counted(served):
    start = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    parts = [start, *[b"0" * 2**16] * 17, b"\r\n--x--\r\n"]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    url = f"{served.url}gradio_api/upload"
    assert httpx.post(url, content=iter(parts), headers=headers).status_code == 413
    assert httpx.post(url, content=iter(parts[:1] + parts[-1:]), headers=headers).status_code == 200
    assert [
        path for path in served.home.rglob("*") if path.is_file() and path.stat().st_size > 2**16
    ] == []


def test_other_origins_are_refused_before_anything_is_done(served):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = httpx.get(served.url, headers=headers)
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
    assert "frame-ancestors 'none'" in httpx.get(served.url).headers["content-security-policy"]


@pytest.mark.slow
def test_fifty_clients_at_once_are_all_answered(served, photo):
    """All upload the same photo, which is one file on the server."""

    def ask(_):
        rows, _ = Client(served.url, verbose=False).predict(handle_file(photo), api_name="/photo")
        return len(rows)

    with ThreadPoolExecutor(50) as clients:
        assert list(clients.map(ask, range(50))) == [1] * 50
    assert left_behind(served.home, {".png"}) == []
