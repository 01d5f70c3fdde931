"""Measure the predictions a second of the web page's webcam, in a real browser.

    python benchmarks/webcam.py [--seconds 30] [--size "1280 x 720"] [-- OPTIONS OF serve]

`persona-affect serve` with the bundled model, and headless Chromium whose camera is a rendered
person who moves, at 30 frames a second; server and browser share the machine. After ten seconds of
warm-up, reads the rate that the page shows once a second.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from persona_affect.datasets import make_affect_clips

WARM_UP = 10
SIZES = ("640 x 480", "1280 x 720", "1920 x 1080")


def film(path: Path, width: int = 640, height: int = 480) -> None:
    """Write a camera's pictures for Chromium to show in a loop."""
    clip = make_affect_clips(1, n_frames=60, halves="personality", image_size=480, random_state=3)
    with path.open("wb") as file:
        for frame in clip.data[0]:
            wide = Image.new("RGB", (width, height), (120, 120, 120))
            face = Image.fromarray(frame).resize((height, height))
            wide.paste(face, ((width - height) // 2, 0))
            wide.save(file, "JPEG", quality=95)


def browse(url: str, camera: Path, seconds: int, size: str) -> list[float]:
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1200,1000",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ):
        options.add_argument(argument)
    # Named, or selenium would look for one on the web.
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.get(url)

        def click(selector: str, text: str = "") -> None:
            def found(_: object) -> object:
                elements = driver.find_elements(By.CSS_SELECTOR, selector)
                return next((e for e in elements if e.text == text or not text), None)

            WebDriverWait(driver, 60).until(found).click()

        click("button[role=tab]", "Webcam")
        WebDriverWait(driver, 30).until(
            lambda _: driver.find_element(By.CSS_SELECTOR, "[data-camera=start]").is_displayed()
        )
        choose = "document.querySelector('[data-camera=size]').value = arguments[0]"
        driver.execute_script(choose, size)
        click("[data-camera=start]")
        rate = "return document.querySelector('.pa-rate')?.textContent"
        WebDriverWait(driver, 60).until(lambda _: driver.execute_script(rate))
        time.sleep(WARM_UP)
        rates = []
        for _ in range(seconds):
            time.sleep(1)
            rates.append(float(driver.execute_script(rate).split()[0]))
        return rates
    finally:
        driver.quit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--size", default="640 x 480", choices=SIZES)
    parser.add_argument("serve", nargs="*", help="options of `serve`, after --")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        camera = Path(folder, "camera.mjpeg")
        film(camera, *map(int, options.size.split(" x ")))
        command = [sys.executable, "-m", "persona_affect", "serve", *options.serve]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                url = server.stdout.readline().split()[2]
                rates = browse(url, camera, options.seconds, options.size)
            finally:
                server.terminate()
    print(
        f"{os.cpu_count()} cores, {options.size}, {options.seconds} seconds: predictions a second"
    )
    low, median = np.min(rates), np.median(rates)
    print(f"lowest {low:.1f}, median {median:.1f}, highest {np.max(rates):.1f}")


if __name__ == "__main__":
    main()
