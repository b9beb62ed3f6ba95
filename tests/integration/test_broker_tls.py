"""TLS to RabbitMQ: the broker is verified by all that dial it, and what is wrong is named."""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor

import kombu
import pytest

from bridge import Bridge
from bridge.bus import tls
from bridge.bus.connection import connect
from bridge.bus.write_only_manager import new_write_only_manager
from bridge.cli import doctor
from bridge.errors import BrokerUnavailable
from bridge.protocol.event import Event
from bridge.reporting.run import Run
from bridge.sending.emitter import Emitter
from bridge.sending.process_emitters import close
from bridge.settings import Settings
from socket_server.bus.managers import new_manager
from socket_server.estimates.queue_depth import QueueDepths
from socket_server.observability.counters import Counters
from support.certificates import Authority
from support.rabbitmq import RabbitMQ
from support.stack import SECRET
from support.wait import until
from support.watched import Watched

ASKS = "{verify,verify_peer},{fail_if_no_peer_cert,true},"

#: Why each listener is refused, by its name.
WRONG = {
    "elsewhere": "not valid for 'localhost': use a host",
    "unknown": "TASKBRIDGE_BROKER_CAFILE",
    "expired": "has expired",
    "asking": "TASKBRIDGE_BROKER_CERTFILE|reset",
    "old": "no TLS of version 1.2",
    "plain": "no TLS is spoken",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture(scope="module")
def ports(node, authority, tmp_path_factory):
    """Ports of one node by what its certificate there is like."""
    here = authority.sign("here", "DNS:localhost")
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")

    def listen(certificate, more=""):
        return node.listen_tls(certificate, authority.file, more)

    return {
        "right": listen(here),
        "twin": listen(here),
        "numeric": listen(authority.sign("numeric", "IP:127.0.0.1")),
        "elsewhere": listen(authority.sign("elsewhere", "DNS:elsewhere.example")),
        "unknown": listen(stranger.sign("unknown", "DNS:localhost")),
        "expired": listen(authority.sign("expired", "DNS:localhost", days=-1)),
        "asking": listen(here, ASKS),
        "old": listen(here, "{versions,['tlsv1.1']},"),
        "plain": node.port,
    }


@pytest.fixture
def environ(node, ports, authority, tmp_path):
    """Return the variables of a program that dials a listener on a virtual host of this test."""
    vhost = node.new_vhost().rpartition("/")[2]

    def variables(listener, query="", **more):
        return {
            "TASKBRIDGE_HOME": str(tmp_path),
            "TASKBRIDGE_SECRET": SECRET,
            "TASKBRIDGE_BROKER_URL": url(ports[listener], vhost, query),
            "TASKBRIDGE_BROKER_CAFILE": str(authority.file),
            **more,
        }

    return variables


def url(port, vhost="", query="", host="localhost"):
    return f"amqps://guest:guest@{host}:{port}/{vhost}{query}"


@pytest.fixture
def settings(environ):
    return lambda *args, **more: Settings.from_environ(environ(*args, **more))


@pytest.fixture
def emitter():
    made = []

    def new(settings):
        made.append(Emitter(settings))
        made[-1].put(Run(job="j", task="t", name="n"), "started")
        return made[-1]

    yield new
    for one in made:
        thread = one._thread
        one.close(0.0)
        thread.join(20)


def events_sent(node, settings):
    """Return how many events are in the stream; None without one. Asks past TLS."""
    address = f"127.0.0.1:{node.port}/{settings.broker.rpartition('/')[2]}"
    with kombu.Connection(f"amqp://guest:guest@{address}") as connection:
        try:
            channel = connection.channel()
            return channel.queue_declare("taskbridge.stream", passive=True).message_count
        except connection.channel_errors:
            return None


def hear(settings):
    """Return what a server makes of its first attempt to hear the broker."""
    try:
        return next(new_manager(settings, Counters())._consume())
    except OSError as error:
        return tls.explain(error)


def enqueue(settings):
    """Return what a service is told that enqueues a job."""
    try:
        return Bridge(settings=settings).enqueue("any", owner="me").id
    except BrokerUnavailable as error:
        return str(error)
    finally:
        close(settings, 0.0)


@pytest.mark.parametrize("listener", WRONG)
def test_nobody_talks_to_a_broker_that_is_not_verified_and_each_says_why(
    listener, node, environ, settings, emitter, monkeypatch, capsys, caplog
):
    told = settings(listener)
    for name, value in environ(listener).items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor() as threads:
        one = emitter(told)
        others = [threads.submit(work, told) for work in (hear, enqueue)]
        levels = threads.submit(QueueDepths(told).read, ["celery"])
        assert doctor.examine() == 1
        until(lambda: not one.healthy, 20, "the broker to be refused")
        [kept] = [record for record in caplog.records if "events are kept" in record.message]
        said = [kept.message, capsys.readouterr().out, *(other.result() for other in others)]
    for text in said:
        assert re.search(WRONG[listener], text), text
        assert "guest:guest" not in text
        assert "Traceback" not in text
    assert not [record for record in caplog.records if record.exc_info]
    assert levels.result() == {}
    assert events_sent(node, told) is None


@pytest.fixture
def stack(environ, authority, new_stack):
    """A server and a worker on a broker that asks for client certificates."""
    mine = authority.sign("mine")
    files = {
        "TASKBRIDGE_BROKER_CERTFILE": str(mine.chain),
        "TASKBRIDGE_BROKER_KEYFILE": str(mine.key),
    }
    found = environ("asking", **files)
    wanted = ("TASKBRIDGE_BROKER_CAFILE", *files)
    stack = new_stack(found["TASKBRIDGE_BROKER_URL"], **{one: found[one] for one in wanted})
    stack.start_server()
    stack.start_worker()
    return stack


def test_a_job_is_enqueued_run_watched_and_cancelled_over_tls_with_a_client_certificate(
    stack, monkeypatch, capsys
):
    job = Watched(stack, "support.counts", 50)
    assert job.end()["state"] == "succeeded"
    waiting = Watched(stack, "support.linger", 60)
    waiting.until("progress")
    stack.bridge.cancel(waiting.id)
    assert waiting.end()["state"] == "cancelled"
    for name, value in stack.env.items():
        monkeypatch.setenv(name, value)
    assert doctor.examine() == 0, capsys.readouterr().out
    assert not any("Traceback" in process.output for process in stack.processes)


@pytest.mark.parametrize("fast_path", ["0", "1"])
def test_events_are_read_over_tls_by_the_fast_path_and_without_it(fast_path, settings):
    told = settings("right", TASKBRIDGE_FAST_PATH=fast_path)
    writer, run = new_write_only_manager(told), Run(job="j", task="t", name="n")
    for number in range(700):
        text = f"{number} {'x' * (20_000 if number % 50 == 0 else 20)}"
        line = {"at": 1.0, "level": "INFO", "message": text}
        event = run.event("log", {"lines": [line]})
        writer.emit("job", event.encode(), namespace="/jobs", room="job:j")
    writer.close()
    seen = []
    consumed = new_manager(told, Counters())._consume()
    while len(seen) < 700:
        seen.append(Event.decode(next(consumed).fields["data"][0]).seq)
    consumed.close()
    assert seen == list(range(700))


def test_parameters_of_the_url_do_what_settings_do_and_win(settings, authority, tmp_path):
    mine = authority.sign("parameters")
    (tmp_path / "other.pem").write_text(Authority(tmp_path, "other").file.read_text())
    files = {"ca_certs": authority.file, "certfile": mine.chain, "keyfile": mine.key}
    query = "&".join(f"ssl_{name}={file}" for name, file in files.items())
    other = {"TASKBRIDGE_BROKER_CAFILE": str(tmp_path / "other.pem")}
    assert_connects(settings("asking", f"?{query}&heartbeat=30", **other))


def assert_connects(settings):
    with connect(settings, settings.broker, connect_timeout=3) as connection:
        connection.connect()
        assert connection.connection.sock.version() in ("TLSv1.2", "TLSv1.3")


def test_what_is_verified_can_be_switched_off_by_the_url_alone(settings):
    assert_connects(settings("unknown", "?ssl_cert_reqs=none"))
    assert_connects(settings("expired", "?ssl_cert_reqs=CERT_NONE"))
    assert_connects(settings("elsewhere", "?ssl_check_hostname=false"))
    for listener in ("unknown", "expired"):
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            assert_connects(settings(listener, "?ssl_check_hostname=false"))


def test_each_of_several_brokers_has_to_have_a_certificate_for_its_own_host(settings, ports):
    right, numeric = url(ports["right"]), url(ports["numeric"], host="127.0.0.1")
    disguised = url(ports["twin"], host="127.0.0.1")
    with connect(settings("right"), f"{right};{numeric}") as connection:
        connection.connect()
        copy = connection.clone()
        for one in (connection, copy):
            one.maybe_switch_next()
            one.connect()
            assert one.connection.sock.server_hostname == "127.0.0.1"
            one.release()
    with connect(settings("right"), f"{right};{disguised}") as connection:
        connection.connect()
        connection.maybe_switch_next()
        connection.connect()  # which tries the next one where one is refused
        assert connection.port == ports["right"]


def test_the_system_authorities_are_asked_where_none_is_set(settings, authority, monkeypatch):
    bare = {"TASKBRIDGE_BROKER_CAFILE": ""}
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        assert_connects(settings("right", **bare))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert_connects(settings("right", **bare))


def test_a_broker_whose_certificate_is_renewed_gets_what_was_kept(
    node, authority, settings, emitter, ports
):
    late = authority.sign("late", "DNS:localhost", days=-1)
    ports["late"] = node.listen_tls(late, authority.file)
    told = settings("late")
    one = emitter(told)
    until(lambda: not one.healthy, 20, "the broker to be refused")
    authority.sign("late", "DNS:localhost")
    node.evaluate("ssl:clear_pem_cache().")
    assert one.flush(30, patient=True)
    until(lambda: events_sent(node, told) == 1, 20, "the event that was kept")
