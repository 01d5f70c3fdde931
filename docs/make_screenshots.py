"""Take the pictures of the web page in docs/images, and write what it shows to their alt texts.

    python docs/make_screenshots.py

Runs `persona-affect serve` with the bundled model on this machine alone, and opens it in Chromium:
each tab in light and dark, 1180 pixels wide, and one screen of a phone. The photo is of the
astronaut Eileen Collins, by NASA, in the public domain; the person of the clip and of the camera is
rendered. The numbers that the page shows go to `docs/images/web_photo.json`, where a test compares
them with those of the bundled model, and to the alt text of each picture of the photo tab.
Needs the extra `test`, Chromium and chromedriver.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from skimage.data import astronaut

from persona_affect.datasets import make_affect_clips
from persona_affect.media import VideoWriter

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
#: Pages that show the photo tab.
PAGES = (ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/web.md")
WIDTH, PHONE = 1180, (390, 844)
FRAMES = "return Number(document.querySelector('.pa-rate')?.dataset.seen) || 0"
PLAYED = """
const player = document.querySelector("#pa-player video");
if (!(player?.readyState >= 2)) return false;
if (!window.wanted) { window.wanted = true; player.currentTime = arguments[0]; }
return !player.seeking && player.currentTime === arguments[0];
"""


def make_inputs(folder: Path) -> None:
    """Write a photo, a clip, and a film for the camera."""
    Image.fromarray(astronaut()).save(folder / "photo.png")
    clip = make_affect_clips(1, n_frames=50, halves="personality", image_size=480, random_state=3)
    with (
        VideoWriter(folder / "clip.mp4", rate=25, size=(640, 480)) as video,
        (folder / "camera.mjpeg").open("wb") as camera,
    ):
        for frame in clip.data[0]:
            # As wide as a camera's picture.
            picture = Image.new("RGB", (640, 480), (120, 120, 120))
            picture.paste(Image.fromarray(frame), (80, 0))
            video.write(np.asarray(picture))
            picture.save(camera, "JPEG", quality=95)


class Visitor:
    """A browser on the page."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={folder / 'camera.mjpeg'}",
        ):
            options.add_argument(argument)
        # Named, or selenium would look for one on the web.
        service = webdriver.ChromeService(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options, service)

    def open(self, tab: str, width: int, dark: bool) -> None:
        """Open a tab in a look."""
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(self.url)
        self.find(f"//button[@role='tab'][normalize-space()='{tab}']").click()

    def wait(self, condition):
        """Return what a condition gives, once that is true."""
        return WebDriverWait(self.driver, 60).until(lambda _: condition())

    def find(self, path: str, shown: bool = True):
        """Return the first element with an XPath, once there is one that can be seen."""
        return self.wait(
            lambda: next(
                (
                    e
                    for e in self.driver.find_elements(By.XPATH, path)
                    if not shown or e.is_displayed()
                ),
                None,
            )
        )

    def upload(self, place: str, name: str) -> None:
        """Give a file of the folder to the page."""
        path = f"//*[@id='{place}']//input[@type='file']"
        self.find(path, shown=False).send_keys(str(self.folder / name))

    def settle(self) -> dict[str, int] | None:
        """Return the size of the whole page, once it has stopped growing."""
        sizes = []
        for _ in range(2):
            sizes.append(self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"])
            time.sleep(0.5)
        size = {side: sizes[1][side] for side in ("width", "height")}
        return size if sizes[0] == sizes[1] else None

    def show_photo(self, width: int = WIDTH, dark: bool = False) -> dict[str, float]:
        """Give the photo to the page, and return the numbers that it shows."""
        self.open("Photo", width, dark)
        self.upload("pa-photo-file", "photo.png")
        self.find("//*[@id='pa-photo-report']//output")
        return {
            output.get_attribute("data-target"): float(output.get_attribute("data-value"))
            for output in self.driver.find_elements(By.CSS_SELECTOR, "#pa-photo-report output")
        }

    def take_picture(self, name: str, top: float = 0, height: float | None = None) -> None:
        """Write the page, or a part of it, to docs/images."""
        # The focus is not in the picture.
        self.driver.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
        size = self.wait(self.settle)
        clip = {"x": 0, "y": top, "scale": 1, **size, "height": height or size["height"]}
        made = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        picture = Image.open(io.BytesIO(b64decode(made["data"]))).convert("RGB")
        picture.save(IMAGES / f"{name}.webp", quality=80, method=6)
        print(f"docs/images/{name}.webp: {picture.width} x {picture.height}")


def take_pictures(visitor: Visitor) -> dict[str, float]:
    """Take all pictures, and return the numbers of the photo."""
    for look, dark in {"light": False, "dark": True}.items():
        visitor.show_photo(dark=dark)
        visitor.take_picture(f"web_photo_{look}")

        visitor.open("Video", WIDTH, dark)
        visitor.upload("pa-video-file", "clip.mp4")
        visitor.find("//*[@id='pa-video-timeline']//*[contains(@class, 'pa-timeline')]")
        visitor.wait(lambda: visitor.driver.execute_script(PLAYED, 1.2))
        visitor.take_picture(f"web_video_{look}")

        visitor.open("Webcam", WIDTH, dark)
        start = visitor.find("//*[@data-camera='start']")
        start.click()
        visitor.wait(lambda: visitor.driver.execute_script(FRAMES) >= 60)
        visitor.take_picture(f"web_webcam_{look}")
        start.click()

        width, height = PHONE
        numbers = visitor.show_photo(width, dark)
        visitor.wait(visitor.settle)
        top = visitor.find("//*[@id='pa-photo-report']//section[@data-of]").rect["y"]
        visitor.take_picture(f"web_phone_{look}", top - 16, height)
    return numbers


def describe(numbers: dict[str, float]) -> str:
    """Return the alt text of the photo tab."""
    said = ", ".join(f"{name} {value:.0f}" for name, value in numbers.items())
    return (
        "The web page of persona-affect serve: a photo of an astronaut with a box around the face, "
        f"and beside it seven impressions with intervals: {said}"
    )


def write_alt_texts(text: str) -> None:
    """Replace the alt text of each picture of the photo tab, in Markdown and in HTML."""
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = re.sub(r'(images/web_photo_light\.webp"[^>]* alt=")[^"]*', rf"\g<1>{text}", before)
        after = re.sub(r"!\[[^\]]*(\]\(images/web_photo_light\.webp)", rf"![{text}\g<1>", after)
        page.write_text(after, encoding="utf-8")


def main() -> None:
    """Take the pictures, and write the numbers and the alt texts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder)
        command = [sys.executable, "-m", "persona_affect", "serve"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            visitor = None
            try:
                visitor = Visitor(server.stdout.readline().split()[2], folder)
                numbers = take_pictures(visitor)
            finally:
                if visitor is not None:
                    visitor.driver.quit()
                server.terminate()
    rounded = {target: round(value, 2) for target, value in numbers.items()}
    (IMAGES / "web_photo.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    write_alt_texts(describe(numbers))


if __name__ == "__main__":
    main()
