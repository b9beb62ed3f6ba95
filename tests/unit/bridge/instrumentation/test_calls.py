"""One call of a canvas publishes messages of one job, and counts all of its tasks."""

from __future__ import annotations

import contextlib

import pytest
from celery import Celery, chain, chord, group, signals
from celery.canvas import _chain, _chord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import Bridge, Settings
from bridge.client.validation import check
from bridge.instrumentation import calls, publish_signals
from bridge.instrumentation.canvas import bound, size
from bridge.instrumentation.header import HEADER, INTERNAL


class Events:
    """In the place of an emitter: what it was given."""

    def __init__(self):
        self.put_events = []

    def put(self, run, kind, data=None):
        self.put_events.append((kind, run.job, data))


def nothing(*_):
    """Stand for a task that never runs here."""


@pytest.fixture(scope="module")
def app():
    app = Celery("calls", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.task(name="one", shared=False)(nothing)
    app.task(name="all", shared=False)(nothing)
    yield app
    app.close()


@pytest.fixture(scope="module")
def events():
    return Events()


@pytest.fixture(scope="module", autouse=True)
def bridge(app, events, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for module in (publish_signals, calls):
            patch.setattr(module, "emitter_for", lambda _: events)
        home = tmp_path_factory.mktemp("home")
        yield Bridge(app=app, settings=Settings(home=home))


@contextlib.contextmanager
def messages():
    """Collect the headers of what is published, Celery's own helpers left out."""
    found = []

    def seen(sender, headers, **_):
        if sender not in INTERNAL:
            found.append(headers)

    signals.after_task_publish.connect(seen)
    try:
        yield found
    finally:
        signals.after_task_publish.disconnect(seen)


def told(headers):
    return headers[HEADER]["total"]


@pytest.fixture(scope="module")
def one(app):
    return app.tasks["one"]


#: A canvas as data: a leaf, or a kind and its parts.
SHAPES = st.recursive(
    st.just("one"),
    lambda inner: st.tuples(
        st.sampled_from(["group", "chain", "chord", "lazy group", "lazy chord", "linked"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def made(app, shape):
    """Return the canvas of a shape, with its own tasks."""
    if shape == "one":
        return app.tasks["one"].si()
    kind, parts = shape
    if kind == "linked":
        first = app.tasks["one"].si()
        first.link(made(app, parts[0]))
        return first
    tasks = [made(app, part) for part in parts]
    body = app.tasks["all"].si()
    return {
        "group": lambda: group(tasks),
        "chain": lambda: chain(tasks),
        "chord": lambda: chord(tasks, body),
        "lazy group": lambda: group(task for task in tasks),
        "lazy chord": lambda: chord((task for task in tasks), body),
    }[kind]()


MADE_BY_HYPOTHESIS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MADE_BY_HYPOTHESIS
@given(shape=SHAPES)
def test_any_call_of_existing_code_is_one_job(app, bridge, shape):
    expected = size(made(app, shape))
    with messages() as found, bridge.owner("someone"):
        made(app, shape).apply_async()
    assert len({headers["root_id"] for headers in found}) == 1
    if isinstance(made(app, shape), (group, _chain, _chord)):
        assert max(told(headers) for headers in found) == expected


@MADE_BY_HYPOTHESIS
@given(shape=SHAPES)
def test_any_canvas_that_is_enqueued_is_one_job(app, bridge, shape):
    expected = size(made(app, shape))
    with messages() as found:
        job = bridge.enqueue(made(app, shape))
    assert {headers["root_id"] for headers in found} == {job.id}
    assert max(told(headers) for headers in found) == expected


def test_more_tasks_are_counted_than_published_until_a_generator_ends(bridge, one):
    with messages() as found, bridge.owner("someone"):
        group(one.si() for _ in range(9)).apply_async()
    counted = [told(headers) for headers in found]
    assert len(counted) == 9
    assert counted[0] < 9
    assert all(total > published for published, total in enumerate(counted[:-1], 1))
    assert counted[-1] == 9


@pytest.mark.parametrize("kind", ["group", "chord"])
def test_to_enqueue_reads_no_more_of_a_generator_than_its_beginning(app, one, kind):
    read = []

    def generated():
        for number in range(9):
            read.append(number)
            yield one.si()

    canvas = group(generated()) if kind == "group" else chord(generated(), one.si())
    check(canvas, None, None, None, 1_000_000)
    assert bound(canvas, app) is canvas
    assert calls.Call(canvas).total < 5
    assert len(read) < 5


def test_a_call_that_a_generator_makes_is_part_of_the_job(bridge, one):
    def generated():
        yield one.si()
        group(one.si(), one.si()).apply_async()
        yield one.si()

    with messages() as found, bridge.owner("someone"):
        group(generated()).apply_async()
    assert len(found) == 4
    assert len({headers["root_id"] for headers in found}) == 1


def test_canvases_outside_of_a_block_are_left_alone(one):
    with messages() as found:
        group(one.si(), one.si()).apply_async()
    assert [headers["root_id"] for headers in found] == [headers["id"] for headers in found]
    assert not any(HEADER in headers for headers in found)


def test_a_root_id_of_the_application_stays(bridge, one):
    with messages() as found, bridge.owner("someone"):
        group(one.si(), one.si()).apply_async(root_id="mine")
    assert {headers["root_id"] for headers in found} == {"mine"}


def test_a_generator_that_fails_ends_what_was_published_of_it(bridge, events, one):
    def generated():
        yield from (one.si(), one.si(), one.si())
        raise ValueError("no more")

    with messages() as found, bridge.owner("someone"), pytest.raises(ValueError, match="no more"):
        group(generated()).apply_async()
    kind, job, data = events.put_events[-1]
    assert (kind, job) == ("failed", found[0]["root_id"])
    assert data["error"]["message"] == "no more"


def test_a_generator_that_fails_at_once_makes_no_job(bridge, events, one):
    def generated():
        raise ValueError("none at all")
        yield one.si()

    before = len(events.put_events)
    with bridge.owner("someone"), pytest.raises(ValueError, match="none at all"):
        group(generated()).apply_async()
    assert len(events.put_events) == before


def test_a_frozen_task_keeps_its_id(bridge, one):
    signature = one.si()
    frozen = signature.freeze().id
    with messages() as found:
        assert bridge.enqueue(signature).id == frozen
    assert [(headers["id"], headers["root_id"]) for headers in found] == [(frozen, frozen)]


@pytest.mark.parametrize("by_name", [True, False])
def test_an_id_that_is_asked_for_is_the_jobs(bridge, one, by_name):
    task = one.name if by_name else one.si()
    with messages() as found:
        assert bridge.enqueue(task, task_id="asked-for").id == "asked-for"
    assert [headers["id"] for headers in found] == ["asked-for"]


def test_a_frozen_id_that_cannot_be_a_jobs_is_replaced(bridge, one):
    with messages() as found:
        job = bridge.enqueue(one.si().set(task_id="x" * 256)).id
    assert len(job) == 36
    assert found[0]["id"] == job


def test_a_canvas_without_tasks_has_succeeded(app, bridge, events):
    job = bridge.enqueue(group(app=app))
    assert events.put_events[-1] == ("succeeded", job.id, {"result": []})


def test_celery_publishes_many_messages_in_the_classes_that_are_wrapped():
    assert {kind.__name__ for kind in calls.MANY} == {"group", "_chain", "_chord"}
    for kind in calls.MANY:
        assert hasattr(kind.apply_async, "__wrapped__")
