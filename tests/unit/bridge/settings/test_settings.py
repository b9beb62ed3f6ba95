"""Settings from the environment: what is refused, in which words, and what is never shown."""

from __future__ import annotations

import logging
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest

from bridge.errors import SettingsError, TaskbridgeError
from bridge.settings import Settings, reference

KEY = "k" * 32


def read(**variables):
    return Settings.from_environ({f"TASKBRIDGE_{name}": text for name, text in variables.items()})


def refusal(**variables):
    with pytest.raises(SettingsError) as caught:
        read(**variables)
    return str(caught.value)


def test_without_variables_everything_has_a_default_that_works_on_one_machine(tmp_path):
    settings = Settings.from_environ({"HOME": "elsewhere"}).replace(home=tmp_path)
    assert settings.embedded
    assert settings.broker == f"embedded://localhost{tmp_path}/broker"
    assert settings.results == f"db+sqlite:///{tmp_path}/results.sqlite"
    assert settings.server_url == "http://127.0.0.1:8000"
    assert settings.channel == "taskbridge"
    assert settings.tasks == ()
    assert settings.transports == ("websocket",)
    assert settings.capture == ("tqdm", "rich", "logging")
    assert settings.capture_level == logging.INFO
    assert settings.store_progress is True


def test_the_home_may_be_relative_and_the_broker_url_is_absolute_all_the_same(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert read(HOME="here").broker == f"embedded://localhost{tmp_path}/here/broker"


def test_every_variable_is_read_into_its_type():
    settings = read(
        BROKER_URL="amqp://u:p@host//",
        RESULT_URL="redis://host/1",
        SECRET=f"{KEY}, {KEY[::-1]}2",
        PORT="9000",
        HEALTH_PORT="9001",
        URL="https://example.org/",
        ORIGINS="https://a.example, https://b.example,",
        TASKS="workers.jobs.*,other.task",
        INCLUDE="a.b , c",
        TRANSPORTS="websocket,polling",
        RETENTION="0.5",
        CANCEL_GRACE="3",
        STREAM_BYTES="1000",
        CAPTURE="stderr , tqdm",
        CAPTURE_LEVEL="warning",
        STORE_PROGRESS="0",
        SHOW_TRACEBACKS="True",
    )
    assert settings.broker == "amqp://u:p@host//"
    assert not settings.embedded
    assert settings.results == "redis://host/1"
    assert settings.keys == (KEY, KEY[::-1] + "2")
    assert (settings.port, settings.health_port) == (9000, 9001)
    assert settings.server_url == "https://example.org"
    assert settings.origins == ("https://a.example", "https://b.example")
    assert settings.tasks == ("workers.jobs.*", "other.task")
    assert settings.include == ("a.b", "c")
    assert settings.transports == ("websocket", "polling")
    assert (settings.retention, settings.cancel_grace) == (0.5, 3.0)
    assert settings.stream_bytes == 1000
    assert (settings.capture, settings.capture_level) == (("stderr", "tqdm"), logging.WARNING)
    assert (settings.store_progress, settings.show_tracebacks) == (False, True)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "80.5", "nan"])
def test_a_port_that_cannot_be_is_refused(port):
    message = refusal(PORT=port)
    assert message.startswith(f"TASKBRIDGE_PORT='{port}' must be ")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "1e999"])
def test_a_time_that_cannot_be_is_refused(seconds):
    assert refusal(RETENTION=seconds).startswith(f"TASKBRIDGE_RETENTION='{seconds}' must be ")


@pytest.mark.parametrize("name", ["SHOW_TRACEBACKS", "STORE_PROGRESS"])
def test_a_flag_is_0_or_1(name):
    assert refusal(**{name: "perhaps"}) == f"TASKBRIDGE_{name}='perhaps' must be 0 or 1"
    for text, value in {"0": False, "1": True, "FALSE": False, "true": True}.items():
        assert getattr(read(**{name: text}), name.lower()) is value


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "1e9", "many"])
def test_a_number_of_bytes_that_cannot_be_is_refused(count):
    assert refusal(STREAM_BYTES=count).startswith(f"TASKBRIDGE_STREAM_BYTES='{count}' must be ")


def test_none_captures_nothing():
    assert read(CAPTURE="none").capture == ()


@pytest.mark.parametrize("kinds", ["tdqm", "tqdm,prints", "none,tqdm", "TQDM"])
def test_what_cannot_be_captured_is_refused_with_a_list_of_what_can(kinds):
    message = refusal(CAPTURE=kinds)
    assert message.startswith(f"TASKBRIDGE_CAPTURE={kinds!r} may list tqdm, rich, logging, stdout")
    assert message.endswith(f"or be none; not {kinds.replace('tqdm,', '').split(',')[0]!r}")


@pytest.mark.parametrize(("text", "level"), [("DEBUG", 10), ("info", 20), ("Error", 40)])
def test_a_level_is_one_of_loggings_in_any_case(text, level):
    assert read(CAPTURE_LEVEL=text).capture_level == level


@pytest.mark.parametrize("level", ["loud", "20", "INFO,ERROR"])
def test_a_level_that_logging_has_not_is_refused(level):
    message = refusal(CAPTURE_LEVEL=level)
    assert message.startswith(f"TASKBRIDGE_CAPTURE_LEVEL='{level}' must be a level of logging: ")


@pytest.mark.parametrize("url", ["ampq://guest:pw@host", "localhost:5672", "http://pw@host", "//"])
def test_a_broker_url_of_no_known_kind_is_refused_without_showing_it(url):
    message = refusal(BROKER_URL=url)
    assert message.startswith("TASKBRIDGE_BROKER_URL must start with one of amqp://")
    assert "pw" not in message


@pytest.mark.parametrize("secret", ["x", "hunter2" * 4, f"{KEY},short-one"])
def test_a_short_secret_is_refused_without_showing_it(secret):
    message = refusal(SECRET=secret)
    assert message.startswith("TASKBRIDGE_SECRET has a key shorter than 32 bytes")
    assert "secrets.token_urlsafe" in message
    assert not any(part in message for part in ("hunter2", "short-one", KEY))


def test_a_secret_is_measured_in_bytes():
    assert read(SECRET="é" * 16).keys == ("é" * 16,)


def test_secrets_and_urls_are_hidden_in_repr():
    settings = read(SECRET=KEY, BROKER_URL="amqp://u:hunter2@h//", RESULT_URL="redis://:hunter2@h")
    assert KEY not in repr(settings)
    assert "hunter2" not in repr(settings)
    assert "port=8000" in repr(settings)


def test_settings_cannot_be_changed_only_copied():
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.port = 1
    assert settings.replace(port=1).port == 1
    assert settings.port == 8000


def test_settings_survive_pickling():
    settings = read(SECRET=KEY, PORT="9000")
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_keys_come_from_the_secret_file_when_none_is_set(tmp_path):
    (tmp_path / "secret").write_text(f"{KEY}\n")
    assert read(HOME=str(tmp_path)).keys == (KEY,)


def test_the_variable_wins_over_the_secret_file(tmp_path):
    (tmp_path / "secret").write_text(KEY)
    assert read(HOME=str(tmp_path), SECRET="v" * 32).keys == ("v" * 32,)


@pytest.mark.parametrize("content", [None, b"", b"\n", b",", b"too short", b"\xff" * 40])
def test_a_missing_empty_or_unusable_secret_file_gets_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingsError, match="set TASKBRIDGE_SECRET to a random string of 32"):
        _ = read(HOME=str(tmp_path)).keys


def test_the_noted_url_is_used_when_none_is_set(tmp_path):
    (tmp_path / "url").write_text("http://127.0.0.1:8123\n")
    assert read(HOME=str(tmp_path)).server_url == "http://127.0.0.1:8123"
    assert read(HOME=str(tmp_path), URL="http://x").server_url == "http://x"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_server_on_all_addresses_is_reached_at_this_machine(host, tmp_path):
    assert read(HOST=host, HOME=str(tmp_path)).server_url == "http://127.0.0.1:8000"


def test_a_settings_error_is_caught_as_any_other_of_taskbridge():
    with pytest.raises(TaskbridgeError):
        read(PORT="x")


@pytest.mark.parametrize(
    "origin", ["*", "app.example", "https://app.example/", "https://app.example/x", "null"]
)
def test_an_origin_is_a_scheme_and_a_host(origin):
    message = refusal(ORIGINS=f"https://a.example,{origin}")
    assert message.endswith(f"origins such as https://app.example.com, not {origin!r}")


def test_proxies_are_addresses_or_networks():
    near, far = read(TRUSTED_PROXIES="127.0.0.1, fd00::/8").trusted_proxies
    assert (str(near), str(far)) == ("127.0.0.1/32", "fd00::/8")
    for text in ("haproxy", "10.0.0.1/8", "10.0.0.0/33"):
        assert "addresses or networks such as 10.0.0.0/8" in refusal(TRUSTED_PROXIES=text)


@pytest.mark.parametrize(
    "name", ["module", "module.function", "a b:c", ":f", "m:", "m:f()", "m:f.g"]
)
def test_a_function_is_named_by_its_module_and_itself(name):
    assert read(AUTH="package.module:function").auth == "package.module:function"
    assert refusal(AUTH=name).endswith("must name a function as package.module:function")


def test_a_certificate_is_a_file_that_can_be_read(tmp_path):
    file = tmp_path / "cert.pem"
    assert "must be a file that can be read (No such file" in refusal(CERTFILE=str(file))
    file.touch()
    assert read(CERTFILE=str(file)).certfile == file
    assert refusal(KEYFILE=str(file)) == "TASKBRIDGE_KEYFILE needs TASKBRIDGE_CERTFILE beside it"


def test_every_setting_is_described():
    described = {one.variable: one for one in reference.settings()}
    assert list(described) == [f"TASKBRIDGE_{one.name.upper()}" for one in fields(Settings)]
    assert [one for one in described.values() if len(one.meaning) < 20] == []
    assert described["TASKBRIDGE_PORT"].default == "8000"
    assert described["TASKBRIDGE_CAPTURE"].default == "tqdm,rich,logging"
    assert described["TASKBRIDGE_KEYFILE"].meaning == described["TASKBRIDGE_CERTFILE"].meaning
    assert "| `TASKBRIDGE_SHARDS` | `1` | Into how many parts" in reference.as_markdown()


def test_roots_and_databases_are_read(tmp_path):
    settings = read(
        INPUT_ROOTS=f"{tmp_path}/a , {tmp_path}/b/../c,",
        OUTPUT_ROOT=f"{tmp_path}/out",
        DATABASES="sales=postgresql+psycopg://u:hunter2%2C@h/db?x=y=z, b=sqlite:////x.db",
    )
    assert settings.input_roots == (tmp_path / "a", tmp_path / "b" / ".." / "c")
    assert settings.output_root == tmp_path / "out"
    assert dict(settings.databases)["sales"] == "postgresql+psycopg://u:hunter2%2C@h/db?x=y=z"
    assert "hunter2" not in repr(settings)
    assert (Settings().input_roots, Settings().output_root, Settings().databases) == ((), None, ())


@pytest.mark.parametrize("root", ["data", "./x", "~/x", "/", "//", "/x/..", "/proc", "/dev/shm"])
def test_a_root_is_an_absolute_path_of_a_folder_of_files(root):
    assert refusal(OUTPUT_ROOT=root).startswith(f"TASKBRIDGE_OUTPUT_ROOT='{root}' must be ")
    assert "must be " in refusal(INPUT_ROOTS=f"/srv/data,{root}")


@pytest.mark.parametrize(
    "databases",
    [
        "hunter2",
        "=sqlite://",
        "a b=sqlite://",
        "a=b",
        "a=sqlite:///x,a=sqlite:///y",
        "a=sqlite://,x",
    ],
)
def test_databases_that_cannot_be_are_refused_without_showing_them(databases):
    message = refusal(DATABASES=databases)
    assert message.startswith("TASKBRIDGE_DATABASES must list databases such as sales=")
    assert "hunter2" not in message


@pytest.mark.parametrize("inner", ["", "/output", "/a/b"])
def test_roots_and_the_home_folder_are_not_inside_one_another(tmp_path, inner):
    (tmp_path / "link").symlink_to(tmp_path / "one")
    one, other = f"{tmp_path}/one", f"{tmp_path}/link{inner}"
    assert "must not be inside one another" in refusal(HOME=one, OUTPUT_ROOT=other)
    assert "must not be inside one another" in refusal(HOME=other, OUTPUT_ROOT=one)
    assert "is inside TASKBRIDGE_HOME" in refusal(HOME=one, INPUT_ROOTS=f"/srv,{other}")
    sentence = refusal(HOME="/x", OUTPUT_ROOT=one, INPUT_ROOTS=other)
    assert "is inside TASKBRIDGE_OUTPUT_ROOT" in sentence


def test_an_input_root_may_contain_the_output_root_and_the_home_folder(tmp_path):
    read(HOME=f"{tmp_path}/h", OUTPUT_ROOT=f"{tmp_path}/o", INPUT_ROOTS=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("QUEUE_TYPE", "mirrored", "classic or quorum"),
        ("LOG_FORMAT", "xml", "text or json"),
        ("ASYNC_MODE", "asyncio", "eventlet or gevent"),
        ("FLOWER_AUTH", "operator", "user:password"),
        ("BROKER_API", "rabbitmq:15672", "http"),
        ("SHARDS", "0", "1 or more"),
        ("SHARD", "-1", "0 or more"),
        ("DRAIN_SPREAD", "soon", "number"),
        ("TOKEN_RENEWAL", "-1", "a number of seconds, or 0"),
        ("GATHER", "-0.1", "a number of seconds from 0 to 1, such as 0.004"),
        ("GATHER", "4", "a number of seconds from 0 to 1, such as 0.004"),
        ("GATHER", "nan", "a number of seconds from 0 to 1, such as 0.004"),
    ],
)
def test_what_an_operator_sets_wrong_is_named(name, text, sentence):
    assert sentence in refusal(**{name: text})


def test_a_login_is_not_quoted():
    assert "hush" not in refusal(FLOWER_AUTH="hush")


def test_a_relative_home_does_not_move_with_the_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environ({"TASKBRIDGE_HOME": "home"})
    before = settings.home, settings.broker, settings.results
    monkeypatch.chdir("/")
    assert (settings.home, settings.broker, settings.results) == before
    assert settings.home == tmp_path / "home"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("secret", KEY),
        ("secret", f"{KEY},{'l' * 32}"),
        ("tasks", "shop.*,mail.*"),
        ("home", "/srv/taskbridge"),
        ("port", "80"),
        ("gather", "0.01"),
        ("store_progress", "0"),
        ("trusted_proxies", "10.0.0.0/8,unix"),
        ("input_roots", "/srv/data"),
        ("databases", "sales=sqlite:////srv/sales.db"),
        ("channel", "other"),
    ],
)
def test_a_string_given_in_python_is_read_as_its_variable_is(name, text):
    assert Settings(**{name: text}) == read(**{name.upper(): text})
    assert Settings().replace(**{name: text}) == read(**{name.upper(): text})


def test_a_list_given_in_python_is_a_tuple():
    settings = Settings(tasks=["shop.*"], secret=[KEY])
    assert settings == Settings(tasks=("shop.*",), secret=(KEY,))
    assert hash(settings)


@pytest.mark.parametrize("secret", ["short", ("short",), [KEY, "short"], f"{KEY},short"])
def test_a_key_given_in_python_is_long_enough_to_sign_with(secret):
    with pytest.raises(SettingsError, match="shorter than 32 bytes") as caught:
        Settings(secret=secret)
    assert "short," not in str(caught.value)


@pytest.mark.parametrize("secret", [b"k" * 32, (b"k" * 32,), [None]])
def test_a_key_given_in_python_is_a_string(secret):
    with pytest.raises(SettingsError, match="TASKBRIDGE_SECRET must be one or several strings"):
        Settings(secret=secret)


def test_no_key_given_in_python_means_that_of_the_home_folder(tmp_path):
    (tmp_path / "secret").write_text(KEY)
    assert Settings(secret=None, home=tmp_path).keys == (KEY,)


def test_a_string_given_in_python_that_cannot_be_read_is_named():
    with pytest.raises(SettingsError, match="TASKBRIDGE_PORT='web' must be a number"):
        Settings(port="web")
