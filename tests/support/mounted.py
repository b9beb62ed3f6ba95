"""``gunicorn support.mounted:app``: an application with its socket server in the same process."""

from __future__ import annotations

from importlib.resources import files

from flask import Flask, Response, request

from socket_server import create_app

site = Flask(__name__)
app = create_app(wsgi_app=site)
sio = app.server.sio

#: A page as celery-progress has its users write it; the token is the only news.
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Polling</title>
<script src="/celery_progress.js"></script></head><body>
<div class="progress-wrapper"><div id="progress-bar" class="progress-bar">&nbsp;</div></div>
<div id="progress-bar-message">Waiting for progress to start...</div>
<div id="celery-result"></div>
<script>document.addEventListener("DOMContentLoaded", () => {{
  CeleryProgressBar.initProgressBar("/taskbridge/api/progress/{job}?token={token}");
}});</script></body></html>"""


@site.get("/")
def index():
    return "the application's own page"


@site.get("/progress")
def progress():
    return PAGE.format(job=request.args["job"], token=request.args["token"])


@site.get("/celery_progress.js")
def script():
    found = files("celery_progress") / "static/celery_progress/celery_progress.js"
    return Response(found.read_text(), mimetype="text/javascript")


@site.get("/favicon.ico")
def icon():
    return "", 204


@sio.on("connect", namespace="/chat")
def connect(sid, environ, auth=None):
    sio.enter_room(sid, "lobby", namespace="/chat")
    sio.emit("welcome", sid, to=sid, namespace="/chat")


@sio.on("shout", namespace="/chat")
def shout(sid, text):
    sio.sleep(0.01)  # as a handler that waits for something does
    sio.emit("shouted", text, room="lobby", skip_sid=sid, namespace="/chat")
    return len(text)
