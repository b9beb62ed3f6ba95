"""What the page and the element weigh, how soon they draw, and how smooth much on a page is.

Much is 200 running jobs, and then one job of 300 tasks on its own page.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from servers import add_async_mode, new_stack  # noqa: E402

from support.rabbitmq import RabbitMQ  # noqa: E402
from support.stack import Stack  # noqa: E402
from support.wait import until  # noqa: E402

STATIC = ROOT / "socket_server" / "web" / "static"
# A page that Playwright makes up has no address, and so Chromium would not let it reach a machine.
FEATURES = "--disable-features=LocalNetworkAccessChecks"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", FEATURES]
LIMITS = {"TASKBRIDGE_SLOW_AFTER": "60"}
#: The element with its client, compressed; to the first bar; frames a second.
MOST_KIB, MOST_MILLISECONDS, LEAST_FRAMES = 45, 300, 50

#: Notes when the first bar is on the page, in milliseconds since the navigation began.
FIRST_BAR = """
const look = () => {
  const root = document.querySelector("job-progress")?.shadowRoot ?? document;
  if (root.querySelector(".fill")) window.firstBar = performance.now();
  else requestAnimationFrame(look);
};
look();
"""
ELEMENT = """<!doctype html><title>An application</title>
<script type="module" src="/static/job-progress.js"></script>
<job-progress job="{job}" token="{token}"></job-progress>"""
#: Frames so far, and milliseconds.
CLOCK = "[window.frames, performance.now()]"
FRAMES = """
window.frames = 0;
const count = () => { window.frames += 1; requestAnimationFrame(count); };
count();
"""


def weight(file: str) -> int:
    """Return the bytes, compressed, of a script with all that it imports."""
    seen: set[Path] = set()
    waiting = [STATIC / file]
    while waiting:
        script = waiting.pop()
        if script not in seen:
            seen.add(script)
            names = re.findall(r'(?:from|import)\s*"(\.[^"]+)"', script.read_text())
            waiting += [(script.parent / name).resolve() for name in names]
    return sum(len(gzip.compress(script.read_bytes())) for script in seen)


@contextmanager
def running(stack: Stack, owner: str, count: int) -> Iterator[str]:
    """Keep so many jobs running; yield the id of one."""
    command = [sys.executable, str(ROOT / "benchmarks" / "page_jobs.py"), owner, str(count)]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=stack.env, **options) as jobs:
        assert jobs.stdout
        assert jobs.stdin
        yield jobs.stdout.readline().strip()
        jobs.stdin.close()


def first_bar(browser: Browser, url: str, times: int, element: str = "") -> list[float]:
    """Return how long a page takes to its first bar, each time with nothing cached.

    Args:
        browser: a browser.
        url: of the page.
        times: how often.
        element: what the page is; default what the server gives out.
    """
    found = []
    for _ in range(times):
        context = browser.new_context()
        page = context.new_page()
        page.add_init_script(FIRST_BAR)
        if element:
            page.route(url, answers(element))
        page.goto(url)
        found.append(until(lambda page=page: page.evaluate("window.firstBar"), 10, "a bar"))
        context.close()
    return found


def answers(text: str) -> Callable[[Route], None]:
    """Return what answers a request with a page."""
    return lambda route: route.fulfill(body=text, content_type="text/html")


def metrics(page: Page, session: Any) -> dict[str, float]:
    """Return frames so far, layouts so far, and the heap after a collection."""
    session.send("HeapProfiler.collectGarbage")
    told = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    frames, at = page.evaluate("[window.frames, performance.now()]")
    return {
        "frames": frames,
        "seconds": at / 1000,
        "layouts": told["LayoutCount"],
        "heap": told["JSHeapUsedSize"],
        "numbers": page.evaluate("document.querySelector('#running .numbers').textContent"),
    }


def smoothness(browser: Browser, stack: Stack, owner: str, count: int, seconds: float) -> Any:
    """Return what the page does while its jobs run, a look every few seconds."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.add_init_script(FRAMES)
    page.goto(f"{stack.url}/#token={stack.token(owner=owner, ttl=seconds + 900)}")
    shown = "document.querySelectorAll('#running .job').length"
    until(lambda: page.evaluate(shown) >= min(count, 200), 30, "all jobs to be on the page")
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    time.sleep(3)
    looks = [metrics(page, session)]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(10.0, seconds / 3))
        looks.append(metrics(page, session))
    still = [one for one, next in itertools.pairwise(looks) if one["numbers"] == next["numbers"]]
    assert not still, f"the bars stood still: {still[0]['numbers']}"
    moved = page.evaluate("[...document.querySelectorAll('#running [aria-valuenow]')].length")
    context.close()
    return {"looks": looks, "bars": moved}


def tree_smoothness(browser: Browser, stack: Stack, tasks: int, seconds: float) -> Any:
    """Return what the page of a job does while its tasks begin, move and end one by one."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.add_init_script(FRAMES)
    job = uuid.uuid4().hex
    script = str(ROOT / "benchmarks" / "page_tasks.py")
    command = [sys.executable, script, job, str(tasks), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, env=stack.env, stdout=subprocess.PIPE) as canvas:
        assert canvas.stdout
        canvas.stdout.readline()
        token = stack.token(owner="tree", ttl=seconds + 900)
        page.goto(f"{stack.url}/#/jobs/{job}?token={token}")
        page.wait_for_selector("#task-rows .ran")
        before = page.evaluate(CLOCK)
        canvas.wait()
        page.wait_for_selector('#job-page[data-state="succeeded"]')
        after = page.evaluate(CLOCK)
    rows = page.evaluate("document.querySelectorAll('#job-page *').length")
    context.close()
    return {"frames": (after[0] - before[0]) / (after[1] - before[1]) * 1000, "elements": rows}


def report(found: dict[str, Any]) -> None:
    """Print it for a person."""
    looks = found["smoothness"]["looks"]
    first, last = looks[0], looks[-1]
    passed = last["seconds"] - first["seconds"]
    frames = last["frames"] - first["frames"]
    layouts = last["layouts"] - first["layouts"]
    drawn = {name: sorted(map(round, times)) for name, times in found["first_bar"].items()}
    heap = [round(one["heap"] / 1e6, 1) for one in looks]
    lines = [
        f"element and client  {found['element'] / 1024:.1f} KiB compressed (at most {MOST_KIB})",
        f"page                {found['page'] / 1024:.1f} KiB compressed",
        *(
            f"first bar, {name:<8} {times[3]} ms (at most {MOST_MILLISECONDS}): {times}"
            for name, times in drawn.items()
        ),
        f"frames a second     {frames / passed:.1f} (at least {LEAST_FRAMES}) over {passed:.0f} s",
        f"layouts a frame     {layouts / frames:.2f} (at most 1)",
        f"heap                {heap} MB",
        f"bars on the page    {found['smoothness']['bars']}",
        f"frames, a job's page {found['tree']['frames']:.1f} a second (at least {LEAST_FRAMES}), "
        f"{found['tree']['elements']} elements",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of watching (%(default)s)")
    parser.add_argument("--jobs", type=int, default=200, help="running jobs (%(default)s)")
    parser.add_argument("--tasks", type=int, default=300, help="of one job (%(default)s)")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    add_async_mode(parser)
    options = parser.parse_args()
    owner = uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        node = RabbitMQ(Path(folder) / "rabbitmq")
        node.folder.mkdir()
        url, home = node.start().new_vhost(), Path(folder) / "stack"
        stack = new_stack(options.async_mode, home, url, **LIMITS)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        try:
            stack.start_server()
            with running(stack, owner, 1) as job:
                token = stack.token(owner=owner)
                drawn = {
                    "page": first_bar(browser, f"{stack.url}/#token={token}", 7),
                    "element": first_bar(
                        browser, f"{stack.url}/element", 7, ELEMENT.format(job=job, token=token)
                    ),
                }
            others = uuid.uuid4().hex
            with running(stack, others, options.jobs):
                smooth = smoothness(browser, stack, others, options.jobs, options.seconds)
            tree = tree_smoothness(browser, stack, options.tasks, options.seconds)
        finally:
            browser.close()
            stack.stop()
            node.stop()
    found = {"element": weight("job-progress.js"), "first_bar": drawn, "smoothness": smooth}
    found["tree"] = tree
    index = re.findall(r'assets/[^"]+\.js', (STATIC / "index.html").read_text())
    found["page"] = sum(len(gzip.compress((STATIC / name).read_bytes())) for name in set(index))
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        report(found)


if __name__ == "__main__":
    main()
