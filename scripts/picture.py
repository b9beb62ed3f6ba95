"""Take the README's picture from the real page, with real jobs: ``python scripts/picture.py``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.stack import Stack  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "page.png"
OWNER = "ada"
#: Python's own, a folder with many files.
LIBRARY = Path(shutil.__file__).parent
#: Milliseconds that a job may take to get where it is to be.
SOON = 60_000


def enqueue(stack: Stack, folder: Path) -> None:
    """Enqueue what is to be seen: jobs that end, one that fails, and some that go on."""
    rows = folder / "orders.csv"
    rows.write_text("id,total\n" + "".join(f"{n},{n * 1.5}\n" for n in range(20_000)))
    ended = [
        stack.bridge.enqueue("workers.jobs.import_csv", kwargs={"path": str(rows)}, owner=OWNER),
        stack.bridge.enqueue("workers.jobs.checksum", kwargs={"path": "nowhere"}, owner=OWNER),
    ]
    for job in ended:
        list(stack.bridge.watch(job.id))
    for _ in range(2):
        stack.bridge.enqueue("workers.jobs.checksum", kwargs={"path": str(LIBRARY)}, owner=OWNER)
    stack.bridge.enqueue("support.work", [60.0], owner=OWNER)


def take(page: Page, stack: Stack, target: Path) -> None:
    """Open the page, wait until it is worth a picture, and take it."""
    page.goto(f"{stack.url}/#token={stack.token(owner=OWNER, scope='watch cancel')}")
    expect(page.locator(":is(#running, #queued) .job")).to_have_count(3, timeout=SOON)
    expect(page.locator("#running .bar[data-depth='1']")).to_have_count(2, timeout=SOON)
    expect(page.locator("#running .plot").first).to_be_visible(timeout=SOON)
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target)


def main() -> None:
    """Start what it takes, take the picture, and end everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        roots = f"{folder},{LIBRARY}"
        stack = Stack(Path(folder) / "stack", TASKBRIDGE_INPUT_ROOTS=roots)
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            stack.start_server()
            stack.start_worker()
            enqueue(stack, Path(folder))
            scheme = "dark" if options.dark else "light"
            look = {"width": 880, "height": 760}
            page = browser.new_page(viewport=look, color_scheme=scheme, device_scale_factor=1.5)
            take(page, stack, options.output)
        finally:
            browser.close()
            stack.stop()


if __name__ == "__main__":
    main()
