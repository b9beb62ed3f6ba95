"""Which pages may connect: those of listed origins, and of the server's own."""

from __future__ import annotations

import pytest

from socket_server.limits.origins import Origins

APP = "https://app.example.com"


def environ(scheme="http", host="jobs.example.com"):
    return {"wsgi.url_scheme": scheme, **({"HTTP_HOST": host} if host else {})}


@pytest.fixture(params=[(), (APP,)], ids=["none listed", "one listed"])
def origins(request):
    return Origins(request.param)


@pytest.mark.parametrize("origin", [None, ""])
def test_a_request_without_an_origin_comes_from_no_page_and_is_let_in(origins, origin):
    assert origins.refusal(origin, environ()) is None


@pytest.mark.parametrize(
    ("origin", "scheme", "host"),
    [
        ("http://jobs.example.com", "http", "jobs.example.com"),
        ("http://jobs.example.com:8000", "http", "jobs.example.com:8000"),
        ("https://jobs.example.com", "https", "jobs.example.com:443"),
        ("https://jobs.example.com", "https", "Jobs.Example.com"),
        ("http://[::1]:8000", "http", "[::1]:8000"),
    ],
)
def test_the_server_s_own_page_is_let_in_whatever_is_listed(origins, origin, scheme, host):
    assert origins.refusal(origin, environ(scheme, host)) is None


def test_a_listed_origin_is_let_in():
    assert Origins((APP,)).refusal(APP, environ()) is None


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://jobs.example.com.evil.example",
        "http://evil.example/jobs.example.com",
        "http://jobs.example.com:8000",
        "http://user@jobs.example.com",
        f"{APP}:444",
        f"{APP}.evil.example",
    ],
)
def test_any_other_origin_is_refused_with_the_setting_that_would_let_it_in(origins, origin):
    assert not origins.allow(origin, environ())
    assert "TASKBRIDGE_ORIGINS" in origins.refusal(origin, environ())


@pytest.mark.parametrize("origin", ["null", "file://", "chrome-extension://abc", "x" * 5000])
def test_a_page_without_an_origin_that_can_be_listed_is_told_to_be_served(origins, origin):
    refusal = origins.refusal(origin, environ())
    assert "http:// or https://" in refusal
    assert origin not in refusal or origin == "null"


def test_behind_a_proxy_that_is_not_trusted_the_server_s_page_names_the_setting_for_it(origins):
    origin = "https://jobs.example.com"
    assert "TASKBRIDGE_TRUSTED_PROXIES" in origins.refusal(origin, environ("http"))
    # The other way round, a page that anyone on the network could have changed wants in.
    refusal = origins.refusal("http://jobs.example.com", environ("https"))
    assert "TASKBRIDGE_TRUSTED_PROXIES" not in refusal


def test_a_request_that_names_no_host_has_no_origin_of_its_own(origins):
    for origin in ("http://", "http:///", "http://None"):
        assert not origins.allow(origin, environ(host=""))
