import base64
import io

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="needs the extra app")

from gradio.data_classes import ImageData  # noqa: E402

from persona_affect import FrameAnnotator  # noqa: E402
from persona_affect.app import _webcam_tab  # noqa: E402
from persona_affect.app._webcam_tab import Live, _picture  # noqa: E402
from persona_affect.exceptions import MediaLimitError  # noqa: E402


def data_uri(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def test_a_picture_is_read_from_its_address(frames):
    picture = _picture(ImageData(url=data_uri(Image.fromarray(frames[0]))))
    np.testing.assert_array_equal(picture, frames[0])


@pytest.mark.parametrize("url", [None, "http://127.0.0.1/x.png", "data:text/html;base64,AAAA"])
def test_other_addresses_are_refused(url):
    with pytest.raises(gr.Error, match="data: addresses"):
        _picture(ImageData(path="/etc/hostname", url=url))


def test_a_picture_of_too_many_pixels_is_refused():
    with pytest.raises(MediaLimitError):
        _picture(ImageData(url=data_uri(Image.new("1", (3000, 3000)))))


def test_what_is_older_than_the_traces_is_forgotten(model, frames, monkeypatch):
    clock = iter(np.arange(100.0) * 5)
    monkeypatch.setattr(_webcam_tab.time, "monotonic", lambda: next(clock))
    live = Live(FrameAnnotator(model).session(), started=0.0)
    for frame in frames:
        (row,) = live.see(frame)
        assert np.isfinite(row["openness"])
    times = [row["time"] for row in live.rows]
    assert times == [35.0, 40.0, 45.0, 50.0, 55.0]
    assert live.n_seen == len(frames)


def test_the_rate_is_that_of_the_latest_seconds(model):
    live = Live(FrameAnnotator(model).session())
    live.rows.extend({"time": t / 8} for t in range(80))
    assert live.rate() == pytest.approx(8.0)
