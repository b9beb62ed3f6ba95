"""A Flask shop that exports its orders, and its socket server, in one process.

gunicorn --worker-class gthread --threads 50 apps.shop:app
celery -A apps.shop:celery worker
"""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

from celery import Celery, Task, shared_task
from flask import Flask, render_template_string, send_from_directory, session

import bridge
from bridge import Bridge, job, progress
from socket_server import create_app

EXPORTS = Path(os.environ["SHOP_EXPORTS"])

# The Celery application that the shop already had, and the one line.
celery = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_RESULTS"])
bridge.install(celery)


class ShopTask(Task):
    """What all of the shop's tasks have in common."""

    autoretry_for = (ConnectionError,)
    retry_backoff = True

    def before_start(self, task_id, args, kwargs):
        EXPORTS.mkdir(parents=True, exist_ok=True)


@shared_task(bind=True, base=ShopTask)
def export_orders(self, orders):
    """Write all orders to a CSV file that the shop's owner can download."""
    name = f"orders-{self.request.id}.csv"
    with (EXPORTS / name).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["order", "total"])
        for number in progress(range(orders), desc="orders", unit="order"):
            rows.writerow([number, number % 97])
            if number % 1000 == 0:
                time.sleep(0.05)  # as a database takes its time
    job.log(f"wrote {name}")
    return {"file": name, "orders": orders}


shop = Flask(__name__)
shop.secret_key = os.environ["SHOP_SECRET"]
taskbridge = Bridge(app=celery)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shop</title>
<script type="module" src="/taskbridge/static/job-progress.js"></script></head>
<body><main><h1>Orders</h1>
<form method="post" action="/exports"><button>Export</button></form>
{% if job %}<job-progress job="{{ job.id }}" token="{{ job.token }}" label="Export"></job-progress>
<p id="file" hidden><a href="">Download</a></p>
<script>
  const done = (event) => {
    const file = document.querySelector("#file");
    file.hidden = event.detail.state !== "succeeded";
    file.querySelector("a").href = "/exports/" + event.detail.result.file;
  };
  document.querySelector("job-progress").addEventListener("end", done);
</script>{% endif %}</main></body></html>"""


@shop.get("/")
def orders():
    return render_template_string(PAGE)


@shop.post("/exports")
def start_export():
    owner = session.setdefault("user", "the shop's owner")
    return render_template_string(
        PAGE, job=taskbridge.enqueue(export_orders.s(40_000), owner=owner)
    )


@shop.get("/exports/<name>")
def download(name):
    return send_from_directory(EXPORTS, name)


@shop.get("/favicon.ico")
def icon():
    return "", 204


# What gunicorn serves: the shop, with the socket server below /taskbridge.
app = create_app(wsgi_app=shop)
