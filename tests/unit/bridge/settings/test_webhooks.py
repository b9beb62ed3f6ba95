"""The settings of webhooks: what is refused, in which words, and without a secret in them."""

from __future__ import annotations

import base64
from ipaddress import ip_network

import pytest

from bridge.errors import SettingsError
from bridge.settings import Settings


def secret(number):
    return f"whsec_{base64.b64encode(b'k' * number).decode()}"


GOOD = {"WEBHOOKS": "a=https://a.example/x", "WEBHOOK_SECRETS": f"a={secret(32)}"}


def read(**variables):
    return Settings.from_environ({f"TASKBRIDGE_{name}": one for name, one in variables.items()})


def refusal(**variables):
    with pytest.raises(SettingsError) as caught:
        read(**{**GOOD, **variables})
    assert "hush" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    str.split("""
        https://a.example https://a.example:8443/x?y=%2C https://8.8.8.8/ https://[2606:4700::1]/
        https://a_b.example./ HTTPS://A.example https://xn--bcher-kva.example/
    """),
)
def test_urls_whose_host_all_programs_read_in_the_same_way_are_taken(url):
    settings = read(**{**GOOD, "WEBHOOKS": f"a={url}"})
    assert settings.webhooks == (("a", url),)


@pytest.mark.parametrize(
    "url",
    [
        *str.split("""
        a.example ftp://a.example https:a.example https:///x https://hush@a.example
        https://me:hush@a.example https://a.example@b.example https://a.example\\@b.example
        https://a.example\\x https://a.example/#hush https://a.example:0 https://a.example:99999
        https://a.example:b https://[::1 https://[fe80::1%25eth0]/ https://[fe80::1%eth0]/ https://::1/
        https://2130706433/ https://0x7f000001/ https://0x7f.1/ https://0177.0.0.1/ https://127.1/
        https://127.0.0.1./ https://1.2.3.4.5/ https://a.example.0x/ https://bücher.example/
        https://a%2eexample/ javascript:hush file:///etc/hush
    """),
        "https://a.example/a b",
        "https://a.exam\tple/",
        "",
    ],
)
def test_other_urls_are_refused_without_being_quoted(url):
    told = refusal(WEBHOOKS=f"a={url}")
    assert told.startswith("TASKBRIDGE_WEBHOOKS must list webhooks such as billing=https://")


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a" * 64, "a.b"])
def test_a_name_is_letters_digits_and_dashes(name):
    assert "names of letters" in refusal(WEBHOOKS=f"{name}=https://a.example")
    assert "must list secrets" in refusal(WEBHOOK_SECRETS=f"{name}={secret(32)}")


def test_a_name_has_one_url_and_any_number_of_secrets():
    assert "each name once" in refusal(WEBHOOKS="a=https://a.example,a=https://b.example")
    both = f"a={secret(24)}, a={secret(64)}"
    assert len(read(**{**GOOD, "WEBHOOK_SECRETS": both}).webhook_secrets) == 2


@pytest.mark.parametrize("text", [secret(23), secret(65), "whsec_hush!", "hush", "whsec_", ""])
def test_a_secret_is_of_24_to_64_bytes_in_base64(text):
    told = refusal(WEBHOOK_SECRETS=f"a={text}")
    assert told.startswith("TASKBRIDGE_WEBHOOK_SECRETS must list secrets such as billing=whsec_…")


def test_each_webhook_has_a_secret_and_each_secret_a_webhook_and_tls_unless_it_is_allowed():
    both = "a=https://a.example,b=https://b.example"
    assert "the webhook b has no secret" in refusal(WEBHOOKS=both)
    assert "has a secret of a, which TASKBRIDGE_WEBHOOKS does not name" in refusal(WEBHOOKS="")
    assert "must have an https:// URL" in refusal(WEBHOOKS="a=http://a.example")
    plain = {**GOOD, "WEBHOOKS": "a=http://a.example", "WEBHOOK_HTTP": "1"}
    assert read(**plain).webhooks == (("a", "http://a.example"),)
    assert "example" not in repr(read(**GOOD))
    assert secret(32) not in repr(read(**GOOD))


def test_networks_are_listed_and_an_address_is_a_network_of_one():
    found = read(WEBHOOK_ALLOW="10.0.0.0/8, ::1").webhook_allow
    assert found == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert "must list addresses or networks" in refusal(WEBHOOK_ALLOW="10.0.0.1/8")
    assert "must list addresses or networks" in refusal(WEBHOOK_ALLOW="unix")
