"""The queue of deliveries: what is attempted when, and what one endpoint costs the others."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from bridge.protocol.event import Event
from socket_server.archive.schema import DELIVERIES
from socket_server.archive.webhooks.attempt import Answer, Unreachable
from socket_server.archive.webhooks.deliverer import Deliverer
from socket_server.archive.webhooks.deliveries import Deliveries
from socket_server.archive.webhooks.endpoint import Endpoint
from socket_server.archive.webhooks.figures import OTHERS, WebhookFigures
from socket_server.archive.webhooks.lane import AT_ONCE
from socket_server.archive.webhooks.schedule import LIFETIME
from support.archive import prepared, write
from support.clock import Clock
from support.wait import until

KEYS = (b"k" * 32,)
DAY = 86_400.0


@pytest.fixture
def engine(tmp_path):
    engine = prepared(f"sqlite:///{tmp_path}/archive.sqlite")
    yield engine
    engine.dispose()


class Desk:
    """A deliverer whose clock and whose endpoints a test governs."""

    def __init__(self, engine):
        self.engine, self.clock = engine, Clock()
        #: What each endpoint answers next; 200 without a word.
        self.answers = {}
        self.sent, self.held = [], threading.Event()
        self.held.set()
        self.restart()

    def restart(self):
        endpoints = {name: Endpoint(name, f"https://{name}", KEYS) for name in ("a", "b")}
        self.figures = WebhookFigures(endpoints, self.clock)
        deliveries = Deliveries(self.engine, "taskbridge")
        figures, clock = self.figures, self.clock
        self.deliverer = Deliverer(deliveries, endpoints, figures, self.post, 30 * DAY, clock)

    def post(self, endpoint, headers, body):
        self.sent.append((endpoint.name, headers["webhook-id"]))
        assert self.held.wait(10)
        answer = self.answers.get(endpoint.name, 200)
        if isinstance(answer, str):
            raise Unreachable(answer)
        return answer if isinstance(answer, Answer) else Answer(answer, None)

    def queue(self, *jobs, webhook="a"):
        """Write that jobs have ended."""
        write(self.engine, [ended(job, webhook) for job in jobs])
        with self.engine.begin() as connection:
            new = update(DELIVERIES).where(DELIVERIES.c.attempts == 0, DELIVERIES.c.at > 1e9)
            connection.execute(new.values(at=self.clock.now, due=self.clock.now))

    def run(self):
        """Attempt what is due, and write what comes of it."""
        before = None
        while before != len(self.sent):
            before = len(self.sent)
            self.deliverer.look()
            lanes = self.deliverer._lanes.values()
            while busy := sum(len(lane.busy) for lane in lanes):
                if len(self.deliverer._results) < busy:
                    self.deliverer.await_ends(5)
                else:
                    self.deliverer.look()

    def rows(self):
        with self.engine.connect() as connection:
            return {row.job: row for row in connection.execute(select(DELIVERIES))}


def ended(job, webhook, kind="succeeded"):
    return Event(job=job, task=job, type=kind, at=1.0, run=1, notes={"webhook": webhook})


@pytest.fixture
def desk(engine):
    return Desk(engine)


def test_what_is_delivered_is_over_and_its_body_is_forgotten_and_later_the_row(desk):
    desk.queue("j")
    assert '"type":"job.succeeded"' in desk.rows()["j"].body
    desk.run()
    row = desk.rows()["j"]
    assert desk.sent == [("a", row.id)]
    assert (row.attempts, row.due, row.failure, row.body) == (1, None, None, "")
    assert row.delivered_at == desk.clock.now
    desk.clock.tick(11)
    desk.run()
    assert desk.figures.told()["a"] == {"waiting": 0, "oldest": 0.0, "failure": None, "gone": False}
    desk.clock.tick(31 * DAY)
    desk.run()
    assert desk.rows() == {}


@pytest.mark.parametrize("failure", [500, "Connection refused"])
def test_an_endpoint_that_fails_for_a_day_gets_the_same_id_again_and_again_until_it_is_given_up(
    desk, failure, caplog
):
    desk.answers["a"] = failure
    desk.queue("j")
    desk.run()
    while (due := desk.rows()["j"].due) is not None:
        desk.clock.now = due - 1
        before = len(desk.sent)
        desk.run()
        assert len(desk.sent) == before
        desk.clock.now = due
        desk.restart()  # nothing of it is only in memory
        desk.run()
        assert len(desk.sent) == before + 1
    row = desk.rows()["j"]
    assert len(set(desk.sent)) == 1
    assert 30 < len(desk.sent) == row.attempts < 70
    assert desk.clock.now == 1000.0 + LIFETIME
    assert (row.delivered_at, row.body) == (None, "")
    assert row.failure == (failure if isinstance(failure, str) else f"it answered {failure}")
    assert desk.figures.of("a").given_up == 1
    assert f"delivery {row.id} of job j to the webhook a is given up" in caplog.text


def test_an_endpoint_that_was_down_for_ten_minutes_gets_each_delivery(desk):
    desk.answers["a"] = "Connection refused"
    jobs = [f"j{number}" for number in range(6)]
    desk.queue(*jobs)
    for second in range(0, 600, 5):
        desk.clock.now = 1000.0 + second
        desk.deliverer.look()
        desk.deliverer.await_ends(0.001)
    desk.answers.clear()
    desk.clock.now = 1600.0
    for _ in range(35):
        desk.run()
        desk.clock.tick(20)
    rows = desk.rows()
    assert all(rows[job].delivered_at for job in jobs)
    ids = [message for _, message in desk.sent]
    assert set(ids) == {row.id for row in rows.values()}
    assert max(map(ids.count, set(ids))) <= 12


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_for_time_is_left_alone_so_long(desk, status):
    desk.answers["a"] = Answer(status, "120")
    desk.queue("j")
    desk.run()
    desk.answers.clear()
    desk.queue("k")
    desk.queue("l", webhook="b")
    desk.clock.tick(119)
    desk.run()
    assert [name for name, _ in desk.sent] == ["a", "b"]
    desk.clock.tick(2)
    desk.run()
    assert [name for name, _ in desk.sent] == ["a", "b", "a", "a"]
    assert all(row.delivered_at for row in desk.rows().values())


def test_an_endpoint_that_is_gone_gets_nothing_until_the_archive_is_restarted(desk):
    desk.answers["a"] = 410
    desk.queue("j")
    desk.run()
    desk.queue("k")
    desk.clock.tick(3700)
    desk.run()
    assert len(desk.sent) == 1
    assert desk.figures.told()["a"]["gone"]
    assert "gone" in desk.figures.told()["a"]["failure"]
    desk.restart()
    desk.answers.clear()
    desk.clock.tick(3700)
    desk.run()
    assert len(desk.sent) == 3
    assert all(row.delivered_at for row in desk.rows().values())


def test_a_webhook_that_the_settings_do_not_name_is_put_off_and_shown_and_given_up_in_the_end(desk):
    desk.queue("j", webhook="c\\\nd")
    for _ in range(60):
        desk.run()
        desk.clock.tick(DAY / 50)
    row = desk.rows()["j"]
    assert desk.sent == []
    assert row.due is None
    assert row.failure.startswith("TASKBRIDGE_WEBHOOKS does not name c")
    assert desk.figures.of(OTHERS).given_up == 1


def test_an_endpoint_that_hangs_has_some_attempts_at_a_time_and_holds_up_no_other(desk):
    desk.held.clear()
    desk.queue(*(f"j{number}" for number in range(10)))
    desk.queue("k", webhook="b")
    desk.deliverer.look()
    desk.deliverer.look()
    until(lambda: len(desk.sent) == AT_ONCE + 1, 5, "the attempts")
    assert [name for name, _ in desk.sent].count("b") == 1
    desk.held.set()
    desk.run()
    assert len(desk.sent) == 11


def test_what_could_not_be_written_is_written_once_the_database_answers_again(desk, monkeypatch):
    desk.queue("j")
    real = desk.deliverer._deliveries.record
    away = OperationalError("", {}, Exception("gone"))

    def fail(results):
        monkeypatch.setattr(desk.deliverer._deliveries, "record", real)
        raise away

    monkeypatch.setattr(desk.deliverer._deliveries, "record", fail)
    desk.deliverer.look()
    desk.deliverer.await_ends(5)
    with pytest.raises(OperationalError):
        desk.deliverer.look()
    desk.run()
    assert desk.rows()["j"].delivered_at
    assert len(desk.sent) == 1


def test_a_deliverer_that_is_stopped_writes_what_has_ended_and_leaves_what_hangs(desk):
    desk.queue("j")
    desk.deliverer.start()
    until(lambda: desk.rows()["j"].delivered_at, 5, "the delivery")
    desk.held.clear()
    desk.queue("k")
    until(lambda: len(desk.sent) == 2, 5, "the attempt")
    threading.Timer(0.2, desk.held.set).start()
    desk.deliverer.stop()
    assert desk.rows()["k"].delivered_at
    assert not desk.deliverer._thread.is_alive()


def test_metrics_name_each_webhook(desk):
    desk.answers["a"] = 500
    desk.queue("j")
    desk.queue("k", webhook="b")
    desk.run()
    found = {
        (
            sample.name.removeprefix("taskbridge_archive_webhook_"),
            sample.labels["webhook"],
        ): sample.value
        for metric in desk.figures.collect()
        for sample in metric.samples
    }
    assert found["attempts_failed_total", "a"] == found["failing", "a"] == 1
    assert found["delivered_total", "b"] == 1
    assert found["failing", "b"] == found["given_up_total", "a"] == 0
