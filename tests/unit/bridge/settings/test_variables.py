"""Variables of the environment, and files that they name: what is read, and what is refused."""

from __future__ import annotations

import pytest

from bridge.errors import SettingsError
from bridge.settings import Settings, variables, without_keys

KEY = "k" * 32


def read(**variables):
    return Settings.from_environ({f"TASKBRIDGE_{name}": text for name, text in variables.items()})


def refusal(**variables):
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    return str(caught.value)


def test_an_empty_variable_counts_as_unset():
    assert read(PORT="", SECRET="", BROKER_URL="", CAPTURE="", CAPTURE_LEVEL="") == Settings()


def test_an_unknown_variable_names_the_nearest_known_one():
    message = refusal(BROKER_UR="amqp://")
    assert message == "unknown setting TASKBRIDGE_BROKER_UR: did you mean TASKBRIDGE_BROKER_URL?"


def test_an_unknown_variable_is_refused_even_if_it_is_empty():
    assert "TASKBRIDGE_PROT" in refusal(PROT="")


def test_an_unknown_variable_that_is_like_no_other_gets_the_list_of_known_ones():
    message = refusal(XQZWKJ="1")
    assert message.startswith("unknown setting TASKBRIDGE_XQZWKJ")
    assert "TASKBRIDGE_" in message.partition(":")[2]


def test_what_may_hold_a_password_can_be_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text(f"{KEY}\n")
    assert read(SECRET_FILE=str(file)).secret == (KEY,)
    url = tmp_path / "url"
    url.write_text("amqp://u:p@h/v\n")
    assert read(BROKER_URL_FILE=str(url)).broker == "amqp://u:p@h/v"


def test_a_file_that_cannot_be_used_is_named_and_what_is_in_it_is_not(tmp_path):
    file = tmp_path / "secret"
    assert refusal(SECRET_FILE=str(file)) == (
        f"TASKBRIDGE_SECRET_FILE={file} cannot be read: No such file or directory"
    )
    file.write_text("\n")
    assert refusal(SECRET_FILE=str(file)) == f"TASKBRIDGE_SECRET_FILE={file} is empty"
    file.write_text("hush")
    assert "hush" not in refusal(SECRET_FILE=str(file))
    assert "both set" in refusal(SECRET_FILE=str(file), SECRET=KEY)
    file.write_bytes(b"\xff\xfe")
    assert "not text" in refusal(SECRET_FILE=str(file))


def test_what_holds_no_password_is_in_no_file():
    assert "TASKBRIDGE_CHANNEL" in refusal(CHANNEL_FILE="x")


def test_a_process_without_keys_gets_neither_them_nor_their_file():
    other = {"TASKBRIDGE_PORT": "8000", "HOME": "x"}
    keys = {"TASKBRIDGE_SECRET": KEY, "TASKBRIDGE_SECRET_FILE": "y"}
    hooks = {"TASKBRIDGE_WEBHOOKS": "a=https://a.example", "TASKBRIDGE_WEBHOOK_SECRETS_FILE": "z"}
    assert without_keys({**other, **keys, **hooks}) == other
    assert without_keys({**other, **keys, **hooks}, webhooks=True) == {**other, **hooks}


#: What Kubernetes sets in each container for Services named taskbridge, taskbridge-health and
#: taskbridge-redis, the last with a named port and IPv6.
INJECTED = {
    "PORT": "tcp://10.0.0.1:80",
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "80",
    "SERVICE_PORT_HTTP": "80",
    "PORT_80_TCP": "tcp://10.0.0.1:80",
    "PORT_80_TCP_PROTO": "tcp",
    "PORT_80_TCP_PORT": "80",
    "PORT_80_TCP_ADDR": "10.0.0.1",
    "PORT_53_UDP": "udp://10.0.0.1:53",
    "HEALTH_PORT": "tcp://10.0.0.2:8001",
    "REDIS_SERVICE_HOST": "fd00::2",
    "REDIS_PORT": "tcp://[fd00::2]:6379",
    "REDIS_PORT_6379_TCP_ADDR": "fd00::2",
}


def test_what_kubernetes_injects_for_services_counts_as_unset(caplog):
    variables._note_injected.cache_clear()
    with caplog.at_level("INFO"):
        assert read(**INJECTED) == read(**INJECTED) == Settings()
    assert caplog.text.count("enableServiceLinks") == 1
    assert "TASKBRIDGE_PORT" in caplog.text
    assert read(**INJECTED, CHANNEL="x").channel == "x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOTS", "10.0.0.1"),
        ("SERVICE_HOST", "my host"),
        ("SERVICE_PORT", "http"),
        ("PORT_80_TCP", "80"),
        ("PROT", "tcp://10.0.0.1:80"),
        ("URL_PORTS", "tcp://10.0.0.1:80"),
    ],
)
def test_what_only_resembles_it_is_an_unknown_setting(name, value):
    assert refusal(**{name: value}).startswith(f"unknown setting TASKBRIDGE_{name}:")


def test_a_port_that_is_no_url_of_a_service_is_still_checked():
    assert "TASKBRIDGE_PORT" in refusal(PORT="http://10.0.0.1:80")
