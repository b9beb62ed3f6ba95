"""Three applications as people have them, each driven in a browser from end to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.ports import free_port
from support.stack import Stack
from support.wait import until

HERE = Path(__file__).parent


class Application:
    """An application, its worker, and what it is told of itself."""

    def __init__(self, folder, broker_url, name, **variables):
        self.port, self.folder = free_port(), folder
        self.url = f"http://127.0.0.1:{self.port}"
        known = {"BROKER": broker_url, "RESULTS": f"db+sqlite:///{folder}/results.sqlite"}
        own = {f"{name}_{key}": value for key, value in known.items()}
        self.stack = Stack(folder, broker_url, TASKBRIDGE_ORIGINS=self.url, **own, **variables)
        self.stack.env["PYTHONPATH"] += f"{os.pathsep}{HERE}"

    def start(self, *command, output):
        """Start one of its programs and wait until it says so."""
        process = self.stack.start(command[0], sys.executable, "-m", *command)
        process.await_output(output)
        return process

    def run(self, *arguments, **variables):
        """Run a program of it to its end."""
        subprocess.run(
            [sys.executable, *arguments],
            env={**self.stack.env, **variables},
            check=True,
            timeout=60,
        )

    def start_worker(self, module):
        celery = ["celery", "-A", module, "worker", "--concurrency", "2", "--loglevel", "INFO"]
        self.start(*celery, "--without-mingle", "--without-gossip", output="ready.")


@pytest.fixture
def application(rabbitmq, tmp_path):
    """Make an application; all that it starts is ended with the test."""
    made = []

    def application(name, **variables):
        made.append(Application(tmp_path, rabbitmq.new_vhost(), name, **variables))
        return made[-1]

    yield application
    for one in made:
        one.stack.stop()


def test_a_flask_shop_serves_its_pages_and_the_progress_of_its_export_alike(application, page):
    shop = application("SHOP", SHOP_SECRET="of the shop")
    shop.stack.env["SHOP_EXPORTS"] = str(shop.folder / "exports")
    shop.stack.env["TASKBRIDGE_URL"] = f"{shop.url}/taskbridge"
    serve = ["gunicorn", "apps.shop:app", "--worker-class", "gthread", "--threads", "50"]
    shop.start(*serve, f"--bind=127.0.0.1:{shop.port}", output="Listening at")
    shop.start_worker("apps.shop:celery")
    page.goto(shop.url)
    page.get_by_role("button", name="Export").click()
    element = page.locator("job-progress")
    bar = element.get_by_role("progressbar", name="orders")
    expect(bar).to_have_attribute("aria-valuemax", "40000")
    expect(element.locator("[part=state]")).to_have_text("succeeded")
    expect(element.locator("[part=log] li").last).to_contain_text("wrote orders-")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 40_001
    # From a terminal, the same job is reached at the same address.
    job = re.search(r"orders-(.+)\.csv", download.value.suggested_filename)[1]
    done = subprocess.run(
        shop.stack.command("watch", job), env=shop.stack.env, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert shop.stack.bridge.status(job)["state"] == "succeeded"


def test_staff_import_books_in_the_admin_of_django(application, page):
    settings = {"DJANGO_SETTINGS_MODULE": "apps.library.settings"}
    library = application("LIBRARY", LIBRARY_SECRET="of the library", **settings)
    library.stack.env["LIBRARY_DATABASE"] = str(library.folder / "library.sqlite")
    library.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
    staff = ["--noinput", "--username", "ada", "--email", "ada@example.org"]
    library.run("-m", "django", "createsuperuser", *staff, DJANGO_SUPERUSER_PASSWORD="lovelace")
    library.stack.start_server()
    library.start_worker("apps.library.site:celery")
    serve = ["gunicorn", "apps.library.site:application", f"--bind=127.0.0.1:{library.port}"]
    library.start(*serve, output="Listening at")
    books = library.folder / "books.csv"
    rows = [f"Book {number},Author {number % 7}" for number in range(300)]
    books.write_text("\n".join(["title,author", *rows, ",Nobody"]))
    page.goto(f"{library.url}/admin/library/book/import/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("lovelace")
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Books").set_input_files(books)
    page.get_by_role("button", name="Import").click()
    element = page.locator("job-progress")
    expect(element.locator("[part=state]")).to_have_text("succeeded")
    expect(element.locator("[part=log] li").last).to_contain_text("row 300 has no title")
    page.goto(f"{library.url}/admin/library/book/")
    expect(page.locator(".paginator")).to_contain_text("300 books")


def test_an_answer_is_streamed_token_by_token_beside_fastapi_and_can_be_stopped(application, page):
    chat = application("CHAT")
    chat.stack.start_server()
    chat.start_worker("apps.chat:celery")
    serve = ["uvicorn", "apps.chat:app", "--port", str(chat.port)]
    chat.start(*serve, output="Uvicorn running")
    page.goto(chat.url)
    page.get_by_label("Question").fill("What does it do?")
    page.get_by_role("button", name="Ask").click()
    answer, state = page.locator("#answer"), page.locator("#state")
    until(lambda: 3 < len(answer.inner_text().split()) < 90, 20, "part of the answer")
    expect(state).to_have_text("succeeded")
    assert len(answer.inner_text().split()) == 100
    page.get_by_label("Question").fill("And what else?")
    page.get_by_role("button", name="Ask").click()
    until(lambda: 3 < len(answer.inner_text().split()) < 90, 20, "part of the next")
    page.get_by_role("button", name="Stop").click()
    expect(state).to_have_text("cancelled")
    assert len(answer.inner_text().split()) < 100
