"""Requests: always answered, in one form, and never with a traceback."""

from __future__ import annotations

import json

import pytest

from bridge.errors import BrokerUnavailable, EnqueueError, JobNotFound, TokenError
from socket_server.messages.answer import Body
from socket_server.messages.requests import Refused, answered, text, whole


class Namespace:
    """Counts requests, and how long who asked too often was not read."""

    def __init__(self, refusal=None):
        self.refusal, self.server, self.slept = refusal, self, []
        self.told, self.charged = [], 0

    def charge(self, sid, size):
        self.charged += size

    def admit(self, sid):
        if self.refusal:
            raise self.refusal

    def sleep(self, seconds):
        self.slept.append(seconds)

    def refused(self, *told):
        self.told.append(told)


def ask(handler, *payload):
    """Call a handler as python-socketio does."""
    answer = answered(handler)(Namespace(), "sid", *payload)
    return json.loads(answer.head) if isinstance(answer, Body) else answer


@pytest.mark.parametrize(("wait", "slept"), [(0.2, 0.2), (30.0, 1.0)])
def test_who_asks_too_often_is_told_when_to_come_back_and_not_read_for_a_while(wait, slept):
    namespace = Namespace(Refused("too_many_requests", "too many", retry_after=wait))
    answer = answered(lambda *_: {})(namespace, "sid", {})
    assert answer["error"] == {
        "code": "too_many_requests",
        "message": "too many",
        "temporary": True,
        "retry_after": wait,
    }
    assert namespace.slept == [slept]


def test_what_is_refused_is_told_with_the_job_that_was_asked_for():
    namespace = Namespace(Refused("forbidden", "no"))

    def on_watch(*_):
        """Answer nothing."""

    answered(on_watch)(namespace, "sid", {"job": "j"})
    answered(on_watch)(namespace, "sid", "nothing")
    assert namespace.told == [
        ("sid", "watch", "forbidden", "j"),
        ("sid", "watch", "forbidden", None),
    ]


def test_an_answer_is_charged_with_its_bytes():
    namespace = Namespace()
    answer = answered(lambda *_: {"text": "x" * 100})(namespace, "sid", {})
    assert namespace.charged == len(answer.head) > 100


def raising(error):
    def handler(self, sid, request):
        raise error

    return handler


def test_an_answer_says_ok_and_carries_what_the_handler_returned():
    answer = ask(lambda self, sid, request: {"sid": sid, **request}, {"job": "j"})
    assert answer == {"ok": True, "sid": "sid", "job": "j"}


@pytest.mark.parametrize("payload", [(), (None,), ("text",), ([],), (7,), (b"x",), ([{}],)])
def test_a_payload_that_is_no_object_is_a_bad_request(payload):
    answer = ask(lambda *_: {}, *payload)
    assert answer["ok"] is False
    assert answer["error"] == {
        "code": "bad_request",
        "message": "a request's payload must be a JSON object",
        "temporary": False,
    }


def test_arguments_beyond_the_first_are_ignored():
    assert ask(lambda *_: {}, {}, "more", 7) == {"ok": True}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("forbidden", "no"), "forbidden"),
        (BrokerUnavailable("no"), "unavailable"),
        (EnqueueError("no"), "bad_request"),
        (JobNotFound("no"), "not_found"),
        (TokenError("no"), "bad_request"),
    ],
)
def test_an_expected_error_becomes_its_code_and_sentence(error, code):
    answer = ask(raising(error), {})
    told = {"code": code, "message": "no", "temporary": code == "unavailable"}
    assert answer == {"ok": False, "error": told}


def test_an_unexpected_error_is_logged_and_not_shown(caplog):
    answer = ask(raising(RuntimeError("password hunter2")), {})
    assert answer["error"]["code"] == "internal"
    assert "hunter2" not in str(answer)
    assert "hunter2" in caplog.text


def test_a_text_is_a_string_of_1_to_255_characters():
    assert text({"job": "j"}, "job") == "j"
    assert text({"job": "j" * 255}, "job") == "j" * 255
    for wrong in (None, "", "j" * 256, 7, ["j"], {}, True, b"j"):
        with pytest.raises(Refused, match="job must be a string of 1 to 255") as caught:
            text({"job": wrong}, "job")
        assert caught.value.code == "bad_request"
    with pytest.raises(Refused):
        text({}, "job")


def test_an_optional_text_may_be_missing_and_not_wrong():
    assert text({}, "state", required=False) == ""
    assert text({"state": None}, "state", required=False) == ""
    for wrong in ("", 7, "s" * 256):
        with pytest.raises(Refused):
            text({"state": wrong}, "state", required=False)


def test_a_whole_number_is_within_its_bounds():
    assert whole({}, "limit", default=50, most=200) == 50
    assert whole({"limit": 1}, "limit", default=50, most=200) == 1
    assert whole({"limit": 200}, "limit", default=50, most=200) == 200
    for wrong in (0, -1, 201, 1.5, "5", True, None, float("nan"), 10**400):
        with pytest.raises(Refused, match="limit must be a whole number from 1 to 200"):
            whole({"limit": wrong}, "limit", default=50, most=200)
