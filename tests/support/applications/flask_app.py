"""``flask --app support.applications.flask_app run``"""

from __future__ import annotations

from flask import Flask, request

from bridge import Bridge

app = Flask(__name__)
bridge = Bridge()


@app.post("/sums")
def sums():
    job = bridge.enqueue("support.add", [20, 22], owner=request.headers["X-User"])
    return {"job": job.id, "token": job.token}
