"""The page in a real browser: what visitors see, and what their browser asks for."""

import json
import shutil
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from persona_affect import FrameAnnotator

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]


class Page:
    """A browser on the page; whatever is waited for comes within half a minute, or fails."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    def open(self, tab=None, query=""):
        self.driver.get(self.url + query)
        self.find("#pa-photo-file input[type=file]")
        if tab:
            self.wait(
                lambda: next(
                    (t for t in self.all("button[role=tab]") if t.text == tab and t.is_displayed()),
                    None,
                )
            ).click()

    def wait(self, condition):
        return WebDriverWait(self.driver, 30).until(lambda _: condition())

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def find(self, selector):
        return self.wait(lambda: next(iter(self.all(selector)), None))

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def numbers(self, within):
        """Return what the page says of each target of face 0."""
        pairs = self.run(
            "return [...document.querySelectorAll(arguments[0] + "
            "' output[data-face=\"0\"]')].map(o => [o.dataset.target, Number(o.dataset.value)])",
            within,
        )
        return dict(pairs)


@pytest.fixture(scope="module")
def page(served, frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    camera = folder / "camera.mjpeg"
    with camera.open("wb") as film:
        for frame in frames:
            Image.fromarray(frame).resize((640, 480)).save(film, "JPEG", quality=95)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1200,1000",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
        "--autoplay-policy=no-user-gesture-required",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield Page(driver, served.url)
    driver.quit()


@pytest.fixture
def photo(frames, tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(frames[0]).save(path)
    return path


def test_a_photo_shows_the_pipelines_numbers(page, model, photo):
    page.open()
    page.find("#pa-photo-file input[type=file]").send_keys(str(photo))
    page.find("#pa-photo-report output")
    shown = page.numbers("#pa-photo-report")
    assert list(shown) == model[-1].target_names_
    np.testing.assert_allclose(list(shown.values()), model.predict([photo])[0], atol=1e-5)
    assert page.find("#pa-photo-report .pa-boxes text").text == "0"
    # The box is empty again, for the next photo.
    page.find("#pa-photo-file input[type=file]")


def test_a_rendered_face_is_one_click_away(page, model):
    page.open()
    page.wait(lambda: page.find("#pa-photo-example").is_enabled())
    page.find("#pa-photo-example").click()
    page.find("#pa-photo-report output")
    assert set(page.numbers("#pa-photo-report")) == set(model[-1].target_names_)


def test_a_bad_photo_is_answered_in_words(page, tmp_path):
    path = tmp_path / "text.jpg"
    path.write_bytes(b"This is no photo.")
    page.open()
    page.find("#pa-photo-file input[type=file]").send_keys(str(path))
    said = page.wait(lambda: next((e.text for e in page.all(".toast-body") if e.text), None))
    assert "not a photo" in said
    assert "Traceback" not in said


def test_a_clip_plays_beside_a_timeline_that_moves_with_it(page, model, clip_file, tmp_path):
    page.open("Video")
    page.find("#pa-video-file input[type=file]").send_keys(str(clip_file))
    timeline = page.find("#pa-video-timeline .pa-timeline")
    expected = FrameAnnotator(model, detect_every=5).to_dataframe(clip_file)
    for name, value in page.numbers("#pa-video-timeline").items():
        assert value == pytest.approx(expected[name].iloc[-1], abs=1e-4), name

    player = "document.querySelector('#pa-player video')"
    page.wait(lambda: page.run(f"return {player}?.readyState >= 1"))
    page.run(f"{player}.currentTime = 0.22")
    end = float(timeline.get_attribute("data-end"))
    at = "return Number(document.querySelector('.pa-timeline').style.getPropertyValue('--at'))"
    page.wait(lambda: page.run(at) == pytest.approx(0.22 / end, abs=0.02))
    # By keyboard, the timeline moves the player.
    timeline.send_keys("\ue010")  # End
    page.wait(lambda: page.run(f"return {player}.currentTime") == pytest.approx(end, abs=0.02))

    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    page.find("#pa-video-csv").click()
    csv = tmp_path / "annotated.csv"
    page.wait(csv.is_file)
    pd.testing.assert_frame_equal(pd.read_csv(csv), expected, check_dtype=False, atol=1e-4)


@pytest.fixture
def two_faces(frames, tmp_path):
    path = tmp_path / "two.png"
    Image.fromarray(np.concatenate([frames[0], frames[-1]], axis=1)).save(path)
    return path


def test_several_faces_are_one_screen_and_a_click_shows_one(page, two_faces):
    page.open()
    page.find("#pa-photo-file input[type=file]").send_keys(str(two_faces))
    table = page.find("#pa-photo-report table")
    assert table.is_displayed()
    assert not any(output.is_displayed() for output in page.all("#pa-photo-report output"))
    assert page.find(".pa-report").rect["height"] < 1000
    page.find('.pa-boxes g[data-pick="1"] .pa-box').click()
    shown = {o.get_attribute("data-face") for o in page.all("output") if o.is_displayed()}
    assert shown == {"1"}
    assert not table.is_displayed()
    # By keyboard, back to all.
    page.find('button[data-pick="all"]').send_keys("\ue007")  # Enter
    assert table.is_displayed()


def test_many_photos_become_a_table(page, model, photo, two_faces, tmp_path):
    bad = tmp_path / "bad, one.jpg"
    bad.write_bytes(b"This is no photo.")
    files = [photo, two_faces, bad, *[photo] * 4]
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    page.open()
    page.find(".pa-many summary").click()
    page.find(".pa-many input[type=file]").send_keys("\n".join(map(str, files)))
    save = page.find("[data-many=save]")
    page.wait(save.is_displayed)
    assert page.find(".pa-many [role=status]").text == "7 of 7 photos, 1 could not be used."
    assert page.run("return document.querySelector('.pa-many progress').value") == 7
    assert len(page.all(".pa-many tbody tr")) == 8
    save.click()
    csv = tmp_path / "impressions.csv"
    page.wait(csv.is_file)
    table = pd.read_csv(csv)
    assert sorted(table["photo"]) == sorted(["photo.png"] * 5 + ["two.png"] * 2 + ["bad, one.jpg"])
    assert "not a photo" in table.set_index("photo")["error"]["bad, one.jpg"]
    names = model[-1].target_names_
    own = table.loc[table["photo"] == "photo.png", names]
    np.testing.assert_allclose(own, np.repeat(model.predict([photo]), 5, axis=0), atol=1e-5)


def start_camera(page, size="640 x 480"):
    page.open("Webcam")
    page.wait(lambda: page.find("[data-camera=start]").is_displayed())
    page.run("document.querySelector('[data-camera=size]').value = arguments[0]", size)
    page.find("[data-camera=start]").click()
    page.wait(lambda: int(page.find(".pa-rate").get_attribute("data-seen") or 0) >= 5)


def test_a_webcam_is_followed(page, model, frames, served):
    start_camera(page)
    page.wait(lambda: page.all(".pa-camera-view .pa-box"))
    # In one step: boxes are drawn anew with each answer.
    box, picture = page.run(
        "return ['.pa-box', 'video'].map((name) => document"
        ".querySelector(`.pa-camera-view ${name}`).getBoundingClientRect().toJSON())"
    )
    assert picture["x"] < box["x"] < picture["x"] + picture["width"]
    assert picture["y"] < box["y"] < picture["y"] + picture["height"]
    assert "predictions a second" in page.find(".pa-rate").text
    # The camera's pictures are compressed, and the predictions smoothed: they are about those of
    # the clip's frames. (The model saw eight faces: it answers to noise, too.)
    sent = [np.asarray(Image.fromarray(frame).resize((640, 480))) for frame in frames]
    predicted = pd.DataFrame(model.predict(sent), columns=model[-1].target_names_)
    low, high, spread = predicted.min(), predicted.max(), model[-1].target_stds_
    for i, (name, value) in enumerate(page.numbers(".pa-camera-traces").items()):
        assert low[name] - 1.5 * spread[i] < value < high[name] + 1.5 * spread[i], name
    page.find("[data-camera=start]").click()
    assert page.find("[data-camera=start]").text == "Start the camera"
    pictures = {".jpg", ".jpeg", ".png", ".webp"}
    assert not [path for path in served.home.rglob("*") if path.suffix in pictures]


def test_pictures_of_a_camera_are_dropped_and_two_are_on_their_way(page):
    start_camera(page)
    page.run(
        "window.atOnce = window.most = 0; const ask = window.fetch;"
        "window.fetch = async (url, ...rest) => {"
        "  if (!String(url).includes('camera')) return ask(url, ...rest);"
        "  window.most = Math.max(window.most, ++window.atOnce);"
        "  try { return await ask(url, ...rest); } finally { window.atOnce -= 1; } };"
    )
    seen = int(page.find(".pa-rate").get_attribute("data-seen"))
    page.wait(lambda: int(page.find(".pa-rate").get_attribute("data-seen")) >= seen + 5)
    assert page.run("return window.most") == 2
    assert "pictures dropped" in page.find(".pa-rate").text
    page.find("[data-camera=start]").click()


@pytest.mark.parametrize("tab", ["Photo", "Video", "Webcam"])
def test_nothing_is_wider_than_a_phone(page, tab, photo, two_faces):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.open(tab)
        if tab == "Photo":
            page.find("#pa-photo-file input[type=file]").send_keys(str(two_faces))
            page.find("#pa-photo-report table")
            page.find(".pa-many summary").click()
            page.find(".pa-many input[type=file]").send_keys(f"{two_faces}\n{photo}")
            page.wait(page.find("[data-many=save]").is_displayed)
        assert page.run("return document.documentElement.scrollWidth") <= 390
        wide = page.run(
            "return [...document.querySelectorAll('.gradio-container [class^=pa-]')]"
            ".filter(e => e.getBoundingClientRect().right > 390.5).map(e => e.className)"
        )
        assert wide == []
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_follows_the_system(page):
    def ground():
        return page.run("return getComputedStyle(document.body).backgroundColor")

    page.open()
    light = ground()
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        page.open()
        page.wait(lambda: ground() != light)
        assert sum(map(int, ground()[4:-1].split(","))) < 100
        ink = page.run("return getComputedStyle(document.querySelector('.pa-care')).color")
        assert sum(map(int, ink[4:-1].split(","))) > 500
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_it_works_by_keyboard_with_the_focus_in_sight(page):
    page.open()
    seen = []
    for _ in range(12):
        page.driver.switch_to.active_element.send_keys("\ue004")  # Tab
        seen.append(
            page.run(
                "const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.getAttribute('role') || e.id || e.tagName, s.outlineStyle]"
            )
        )
        if seen[-1][0] == "pa-photo-example":
            break
    names = [name for name, _ in seen]
    assert "tab" in names
    assert names[-1] == "pa-photo-example"
    assert all(style != "none" for name, style in seen if name in ("tab", "pa-photo-example"))


def test_it_says_what_it_is_not_for(page):
    page.open()
    said = page.find(".pa-care").text
    assert "apparent" in said
    assert "Not for hiring" in said
    assert page.find(".pa-care").is_displayed()


def test_nothing_is_asked_of_another_machine(page):
    """After all that this module did, and one more visit of every tab."""
    for tab in ("Photo", "Video", "Webcam"):
        page.open(tab)
    asked = set()
    for entry in page.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(urlsplit(message["params"]["request"]["url"])[:2])
    hosts = {place.rpartition(":")[0] for scheme, place in asked if scheme not in ("data", "blob")}
    assert hosts == {"127.0.0.1"}
