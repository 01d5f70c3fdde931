"""Check the built site in Chromium: links, requests, console, width on a phone, contrast.

    python docs/check_site.py [FOLDER]

`make check_site` runs it. Each page is opened in light and dark, 390 pixels wide. Links and images
must lead to files of the site. Exits with 1 if something is wrong. Needs selenium, and for what a
browser sees, Chromium and chromedriver.
"""

import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from selenium import webdriver

#: Texts that a reader sees, whose contrast with what is behind them is below 4.5 (3 if large).
CONTRAST = """
const rgb = (css) => (css.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = rgb(getComputedStyle(node).backgroundColor);
    if (colour.length < 4 || colour[3] > 0.5) return colour;
  }
  return [255, 255, 255];
};
// Estimators are drawn by scikit-learn, whose colours are its own.
const found = new Set();
for (const node of document.querySelectorAll("main *, header *, footer *")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!own || !node.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
  if (node.closest("svg, .headerlink, .visually-hidden, .sk-top-container")) continue;
  const style = getComputedStyle(node), size = parseFloat(style.fontSize);
  const [a, b] = [light(rgb(style.color)), light(behind(node))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  if (ratio < least) {
    found.add(`${ratio.toFixed(2)} ${node.tagName} ${node.className}: ${node.textContent.trim()
      .slice(0, 30)}`);
  }
}
return [...found].slice(0, 5);
"""


class Page(HTMLParser):
    """Links, images without a text, and places of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places, self.silent = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Note what a tag refers to."""
        found = dict(attrs)
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        # An empty text says that a picture only decorates: thumbnails, whose title follows.
        # A picture of the gallery whose axes have no title gets the name of its file.
        if tag == "img" and re.match(r"plot \d\d", found.get("alt", "plot 00") or ""):
            self.silent.append(found.get("src"))


def check_links(folder):
    """Return links to files or places that are not there, and pictures without a text."""
    pages = {
        path: Page(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.html")
        if "_static" not in path.relative_to(folder).parts
    }
    wrong = []
    for path, page in pages.items():
        wrong += [f"{path.relative_to(folder)}: no alt for {name}" for name in page.silent]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            place = unquote(parts.fragment)
            if not target.exists() or (
                place and target in pages and place not in pages[target].places
            ):
                wrong.append(f"{path.relative_to(folder)}: {link} leads nowhere")
    return sorted(pages), wrong


def check_in_browser(folder, pages):
    """Return what is wrong with pages in Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    wrong = []
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for path in pages:
            name = path.relative_to(folder)
            driver.get(path.as_uri())
            for theme in ("light", "dark"):
                driver.execute_script(
                    "document.documentElement.dataset.theme = arguments[0];"
                    "document.documentElement.dataset.mode = arguments[0];",
                    theme,
                )
                wrong += [f"{name}, {theme}: {text}" for text in driver.execute_script(CONTRAST)]
            width = driver.execute_script("return document.documentElement.scrollWidth")
            if width > size["width"]:
                wrong.append(f"{name}: {width} pixels wide on a phone of {size['width']}")
            wrong += [
                f"{name}: {entry['message']}"
                for entry in driver.get_log("browser")
                # The theme says which mode it took.
                if entry["level"] in ("SEVERE", "WARNING")
                and not any(known in entry["message"] for known in ("[PST]", "copy-paste icon"))
            ]
            for entry in driver.get_log("performance"):
                event = json.loads(entry["message"])["message"]
                if event["method"] == "Network.requestWillBeSent":
                    address = event["params"]["request"]["url"]
                    if not address.startswith(("file:", "data:", "blob:", "chrome")):
                        wrong.append(f"{name}: asks for {address}")
    finally:
        driver.quit()
    return wrong


def main():
    """Check the site of the first argument."""
    default = Path(__file__).parent / "_build/html"
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else default).resolve()
    pages, wrong = check_links(folder)
    # Of the pages of single names, which one template makes, a sample is enough for the browser.
    shown = [page for page in pages if "generated" not in page.parts]
    shown += [page for page in pages if "generated" in page.parts][::20]
    if shutil.which("chromedriver"):
        wrong += check_in_browser(folder, shown)
    else:
        shown = []
        print("Without chromedriver, no page is opened: `make browser` installs it.")
    if not pages:
        wrong.append(f"{folder} has no pages: `make site` builds them.")
    print("\n".join(wrong))
    print(f"{len(pages)} pages, {len(shown)} of them in the browser: {len(wrong)} things are wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
