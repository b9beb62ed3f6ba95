"""``flask --app support.applications.flask_host run``: a site with its server inside."""

from __future__ import annotations

from flask import Flask

from socket_server import create_app

app = Flask(__name__)
app.get("/")(lambda: "the application's own page")
app.wsgi_app = create_app(wsgi_app=app.wsgi_app)
