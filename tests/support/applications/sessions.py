"""``TASKBRIDGE_AUTH`` functions: who has a session of the application needs no token.

Of Flask, whose session is a signed cookie, and of Django, whose session is kept in a database. A
server calls them again for as long as a client is connected, so they must see a logout. A signed
cookie stays good when its browser has forgotten it: the Flask application keeps a table of logins.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from functools import cache
from http.cookies import SimpleCookie
from typing import Any

from bridge import Grant, TokenError

SCOPE = frozenset({"watch", "cancel"})


def cookie(environ: dict[str, Any], name: str) -> str | None:
    """Return a cookie that the browser sent with its first request."""
    found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(name)
    return found.value if found else None


@cache
def _flask() -> Any:
    from flask import Flask

    app = Flask(__name__)
    app.secret_key = os.environ["SESSION_KEY"]
    return app


def _logins() -> Any:
    """Return the Flask application's database."""
    database = sqlite3.connect(os.environ["SESSION_DATABASE"])
    database.execute("create table if not exists logins (id text primary key)")
    return closing(database)


def new_flask_session(user: str) -> str:
    """Return the cookie of a new session, as a login makes one."""
    login = str(uuid.uuid4())
    with _logins() as database, database:
        database.execute("insert into logins values (?)", [login])
    app = _flask()
    session = {"user": user, "login": login}
    return str(app.session_interface.get_signing_serializer(app).dumps(session))


def end_flask_sessions() -> None:
    """Log everybody out."""
    with _logins() as database, database:
        database.execute("delete from logins")


def flask_session(environ: dict[str, Any], auth: Any) -> Grant | None:
    """Let in who is logged in to the Flask application."""
    app = _flask()
    value = cookie(environ, app.config["SESSION_COOKIE_NAME"])
    if value is None:
        return None  # nobody of ours: a token may do
    from itsdangerous import BadSignature

    serializer = app.session_interface.get_signing_serializer(app)
    try:
        session = serializer.loads(value, max_age=app.permanent_session_lifetime.total_seconds())
    except BadSignature:
        raise TokenError("the session has expired: log in again") from None
    with _logins() as database:
        if not database.execute("select 1 from logins where id = ?", [session["login"]]).fetchone():
            raise TokenError("the session has ended: log in again")
    return Grant(owner=session["user"], scope=SCOPE)


@cache
def _django() -> None:
    import django
    from django.conf import settings

    databases = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SESSION_DATABASE"]}
    settings.configure(
        SECRET_KEY=os.environ["SESSION_KEY"],
        INSTALLED_APPS=["django.contrib.sessions"],
        DATABASES={"default": databases},
        USE_TZ=True,
    )
    django.setup()


def new_django_session(user: str) -> str:
    """Return the key of a new session, as a login makes one; the table is made if need be."""
    _django()
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    store = SessionStore()
    store["user"] = user
    store.create()
    return str(store.session_key)


def django_session(environ: dict[str, Any], auth: Any) -> Grant | None:
    """Let in who is logged in to the Django application."""
    _django()
    from django.conf import settings
    from django.contrib.sessions.backends.db import SessionStore

    key = cookie(environ, settings.SESSION_COOKIE_NAME)
    if key is None:
        return None
    if (user := SessionStore(session_key=key).get("user")) is None:
        raise TokenError("the session has expired: log in again")
    return Grant(owner=user, scope=SCOPE)


def broken(environ: dict[str, Any], auth: Any) -> Grant | None:
    """Fail, as a bug would."""
    raise RuntimeError("a bug")


def forgetful(environ: dict[str, Any], auth: Any) -> Any:
    """Return what is no grant."""
    return {"owner": "me"}
