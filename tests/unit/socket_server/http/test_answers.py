"""Refusals over HTTP are the protocol's error objects, with all of their fields."""

from __future__ import annotations

import pytest
from flask import Flask

from bridge.errors import WrongShard
from socket_server.http.answers import refusing
from socket_server.messages.requests import Refused


def answer_to(refusal):
    """Return the answer of a route whose view raises an exception."""

    @refusing
    def view():
        raise refusal

    http = Flask("refusing")
    http.get("/")(view)
    return http.test_client().get("/")


def test_a_client_that_asks_too_often_is_told_when_to_ask_again():
    answer = answer_to(Refused("too_many_requests", "slower", retry_after=1.5))
    assert answer.status_code == 429
    assert answer.json["error"]["retry_after"] == 1.5
    assert answer.headers["Retry-After"] == "2"


def test_a_client_of_another_shard_is_told_its_number():
    answer = answer_to(WrongShard(3, 1))
    assert answer.status_code == 421
    assert answer.json["error"]["shard"] == 3


@pytest.mark.parametrize(("code", "status"), [("forbidden", 403), ("bad_request", 400)])
def test_other_refusals_say_nothing_of_when(code, status):
    answer = answer_to(Refused(code, "no"))
    assert answer.status_code == status
    assert answer.json["error"] == {"code": code, "message": "no", "temporary": False}
    assert "Retry-After" not in answer.headers
