"""Take the pictures of the wall board in docs/: `python -m tools.screenshots`.

An imaginary afternoon, in a real browser (Debian's chromium); the same pictures come from the same page.
"""

import shutil
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

from stream.clock import monotonic_s
from tests.export.centre import busy_afternoon
from tests.export.served import Server

DOCS: Final = Path(__file__).parents[1] / "docs"
WALL: Final = {"width": 1920, "height": 1080}
PICTURES: Final[dict[str, dict[str, Any]]] = {
    "wall-light": {"viewport": WALL, "color_scheme": "light", "locale": "en-GB"},
    "wall-dark": {"viewport": WALL, "color_scheme": "dark", "locale": "en-GB"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "locale": "nl-NL"},
}
QUALITY: Final = 70


def main() -> None:
    """Take them all."""
    with (
        Server(busy_afternoon(), monotonic_s=monotonic_s) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        for name, options in PICTURES.items():
            context = browser.new_context(timezone_id="Europe/Amsterdam", **options)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.served.address[1]}/")
            page.wait_for_selector(".state.live")
            page.screenshot(path=DOCS / f"{name}.jpg", type="jpeg", quality=QUALITY)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
