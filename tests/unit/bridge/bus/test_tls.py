"""What a broker's URL and settings say about TLS, and what each library is told."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from bridge.bus import tls
from bridge.errors import SettingsError
from bridge.settings import Settings, broker_url
from support.certificates import Authority
from support.tools import need


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    mine, other = authority.sign("mine"), authority.sign("other")
    (folder / "nonsense.pem").write_text("no certificate")
    return {
        "ca": authority.file,
        "cert": mine.chain,
        "key": mine.key,
        "other": other.key,
        "nonsense": folder / "nonsense.pem",
        "missing": folder / "missing.pem",
    }


def settings(url, **more):
    names = {f"TASKBRIDGE_{name.upper()}": str(value) for name, value in more.items()}
    return Settings.from_environ({"TASKBRIDGE_BROKER_URL": url, **names})


def ssl_of(url, **more):
    told = settings(url, **more)
    return tls.target(told, told.broker).ssl


@pytest.mark.parametrize("url", ["amqp://h", "pyamqp://h//", "redis://h/0", "amqp://a;amqp://b"])
def test_where_nothing_is_encrypted_no_library_is_told_of_tls(url, files):
    assert tls.target(settings(url, broker_cafile=files["ca"]), url) == (url, None)


@pytest.mark.parametrize("url", ["amqps://u:p%3F@h:5671/v", "amqps://a;amqps://b"])
def test_an_amqp_broker_is_verified_with_its_host_unless_said_otherwise(url):
    assert ssl_of(url) == {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
    assert tls.target(settings(url), url).url == url


def test_a_redis_is_verified_with_its_host_unless_said_otherwise():
    told = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
    assert ssl_of("rediss://h/0") == told


def test_the_files_of_the_settings_are_told_and_those_of_the_url_instead(files):
    mine = {"broker_cafile": files["ca"], "broker_certfile": files["cert"]}
    told = ssl_of("amqps://h", **mine, broker_keyfile=files["key"])
    paths = {name: told[name] for name in ("ca_certs", "certfile", "keyfile")}
    expected = {"ca_certs": files["ca"], "certfile": files["cert"], "keyfile": files["key"]}
    assert paths == {name: str(path) for name, path in expected.items()}
    both = files["key"].with_name("both.pem")
    both.write_text(files["cert"].read_text() + files["key"].read_text())
    told = ssl_of(f"rediss://h?ssl_certfile={both}", **mine, broker_keyfile=files["key"])
    assert (told["ssl_certfile"], "ssl_keyfile" in told) == (str(both), False)
    assert told["ssl_ca_certs"] == str(files["ca"])


def test_verification_is_switched_off_by_the_url_alone():
    assert ssl_of("amqps://h?ssl_cert_reqs=none") == {"cert_reqs": ssl.CERT_NONE}
    assert ssl_of("amqps://h?ssl_check_hostname=false") == {"cert_reqs": ssl.CERT_REQUIRED}
    off = {"ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False}
    assert ssl_of("rediss://h?ssl_cert_reqs=CERT_NONE&ssl_check_hostname=true") == off


def test_parameters_of_tls_are_left_out_of_what_is_dialled_and_others_are_not():
    one = "amqps://h/v?heartbeat=5&ssl_cert_reqs=none"
    told = settings(f"{one};{one}")
    assert tls.target(told, told.broker).url == "amqps://h/v?heartbeat=5;amqps://h/v?heartbeat=5"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("amqps://u:secret@h;amqp://u:secret@h", "TLS in all of its URLs"),
        ("amqp://u:secret@h;http://u:secret@h", "must start with one of"),
        ("amqps://u:secret@h?ssl_cert_reqs=none;amqps://u:secret@h", "same ssl_ parameters"),
        ("amqp://u:secret@h?ssl_ca_certs=/x", "needs amqps://"),
        ("amqp://u:secret@h?ssl=true", "not 'ssl'"),
        ("pyamqp://u:secret@h?ssl=1", "not 'ssl'"),
        ("amqps://u:secret@h?cafile=/x", "not 'cafile'"),
        ("amqps://u:secret@h?verify=verify_none", "not 'verify'"),
        ("amqps://u:secret@h?ssl_cert_reqs=maybe", "ssl_cert_reqs=required"),
        ("rediss://u:secret@h?ssl_check_hostname=", "ssl_check_hostname=true or false"),
        ("rediss://u:secret@h?ssl_version=3", "not 'ssl_version'"),
        ("redis://u:secret@h?ssl_cert_reqs=none", "needs amqps://"),
        ("amqps://u:secret@h?ssl_ca_certs=/nowhere/ca.pem", "ssl_ca_certs=/nowhere/ca.pem"),
        ("amqps://u:secret@h?ssl_keyfile=/x", "needs ssl_certfile"),
    ],
)
def test_a_url_that_cannot_work_or_would_verify_nothing_is_refused_in_a_sentence(url, said):
    for name in ("BROKER_URL", "EVENTS_URL"):
        with pytest.raises(SettingsError) as caught:
            Settings.from_environ({f"TASKBRIDGE_{name}": url})
        assert str(caught.value).startswith(f"TASKBRIDGE_{name} ")
        assert said in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("files_set", "said"),
    [
        ({"broker_cafile": "missing"}, "TASKBRIDGE_BROKER_CAFILE.* can be read"),
        ({"broker_cafile": "nonsense"}, "TASKBRIDGE_BROKER_CAFILE.* certificates in PEM"),
        ({"broker_cafile": "key"}, "TASKBRIDGE_BROKER_CAFILE.* certificates in PEM"),
        ({"broker_keyfile": "key"}, "BROKER_KEYFILE needs TASKBRIDGE_BROKER_CERTFILE"),
        ({"broker_certfile": "cert"}, "TASKBRIDGE_BROKER_CERTFILE.* its own key"),
        ({"broker_certfile": "cert", "broker_keyfile": "other"}, "CERTFILE.* its own key"),
        ({"broker_certfile": "nonsense"}, "TASKBRIDGE_BROKER_CERTFILE.* in PEM"),
    ],
)
def test_files_that_cannot_be_used_are_named_at_the_start(files, files_set, said):
    with pytest.raises(SettingsError, match=said):
        settings("amqps://h", **{name: files[file] for name, file in files_set.items()})


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(files):
    with pytest.raises(ValueError, match="no password"):
        broker_url.check_pair(str(files["cert"]), str(locked(files["key"])))


def locked(key):
    """Return a copy of a key behind a password."""
    file = key.with_name("locked.key")
    command = [need("openssl"), "ec", "-aes256", "-passout", "pass:password"]
    subprocess.run([*command, "-in", key, "-out", file], check=True, capture_output=True)
    return file


def test_what_a_library_wrapped_is_explained_and_what_is_no_matter_of_tls_is_not():
    refusal = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    try:
        try:
            raise refusal
        except OSError:
            raise RuntimeError("wrapped")  # noqa: B904 - as redis-py does it
    except RuntimeError as error:
        wrapped = error
    assert "TASKBRIDGE_BROKER_CERTFILE" in tls.explain(wrapped)
    assert tls.refused(wrapped)
    away = ConnectionRefusedError(111, "Connection refused")
    assert tls.explain(away) == str(away)
    assert not tls.refused(away)
