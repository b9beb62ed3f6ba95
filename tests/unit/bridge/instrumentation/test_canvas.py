"""How many tasks a canvas holds, and through whose application it goes."""

from __future__ import annotations

import pytest
from celery import Celery, chain, chord, group, signature

from bridge.instrumentation.canvas import bound, size


@pytest.fixture
def app():
    return Celery("of the test", broker="memory://", set_as_current=False)


def s(name="t", app=None):
    return signature(name, app=app)


def linked(first, then):
    """Return a task with a callback."""
    first.link(then)
    return first


@pytest.mark.parametrize(
    ("canvas", "tasks"),
    [
        (s(), 1),
        (chain(s(), s(), s()), 3),
        (group(s(), s()), 2),
        (group(s() for _ in range(4)), 4),
        (chord([s(), s()], s()), 3),
        (chord(group(s(), s(), s()), s()), 4),
        (chord([chain(s(), s()), s()], chain(s(), s())), 5),
        (chain(s(), group(s(), s()), s()), 4),
        (group(chain(s(), s()), group(s(), chord([s()], s()))), 5),
        (chain(s(), chord([s(), s()], s())), 4),
        (group(), 0),
        (linked(s(), chain(s(), s())), 3),
    ],
    ids=repr,
)
def test_the_tasks_of_a_canvas_are_counted_through_all_its_levels(canvas, tasks):
    assert size(canvas) == tasks


def test_a_signature_by_name_alone_goes_through_the_given_application(app):
    for canvas in (s(), chain(s(), s()), group(s(), s()), chord([s()], s())):
        assert bound(canvas, app).app is app


def test_a_signature_of_an_application_stays_with_it(app):
    other = Celery("another", broker="memory://", set_as_current=False)
    assert bound(s(app=app), other).app is app
    assert bound(chord([s(app=app)], s(app=app)), other).app is app


def test_the_original_is_left_as_it_was(app):
    original = s()
    copy = bound(original, app)
    copy.args = (1,)
    copy.options["task_id"] = "x"
    assert (original.args, original.options) == ((), {})


def test_binding_keeps_arguments_and_options(app):
    canvas = signature("t", args=(1,), kwargs={"a": 2}, options={"queue": "q"})
    copy = bound(canvas, app)
    assert (copy.task, list(copy.args), copy.kwargs) == ("t", [1], {"a": 2})
    assert copy.options["queue"] == "q"
