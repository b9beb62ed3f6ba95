"""How deeply JSON is nested is found out as it is, whatever its shape, and bounded everywhere."""

from __future__ import annotations

import json
import pickle

import pytest
from celery import chain, chord, group, signature
from hypothesis import given
from hypothesis import strategies as st

from bridge.client.bridge import Bridge
from bridge.client.validation import MAX_ARGUMENTS, check
from bridge.errors import EnqueueError
from bridge.instrumentation import outcomes
from bridge.instrumentation.canvas import leaves
from bridge.protocol.nesting import MAX_DEPTH, MAX_MESSAGE_DEPTH, is_deep, may_be_deep, shallow_json
from bridge.reporting.current_job import _json as shown
from bridge.settings import Settings
from socket_server.messages.strict_json import MAX_PACKET_DEPTH, FiniteJson
from support.poison import nested

KINDS = ("list", "dict", "mixed")
MOST = Settings().argument_bytes

JSON = st.recursive(
    st.none() | st.integers() | st.text(alphabet='[]{}"\\a'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth(value):
    parts = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, parts), default=0) if isinstance(value, list | dict) else 0


@given(value=JSON, most=st.integers(0, 6))
def test_a_value_is_too_deep_exactly_if_its_levels_are_too_many(value, most):
    assert is_deep(value, most) == (depth(value) > most)
    assert may_be_deep(json.dumps(value), most) or not is_deep(value, most)
    assert may_be_deep(json.dumps(value).encode(), most) == may_be_deep(json.dumps(value), most)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 5_000, 100_000])
def test_the_levels_count_and_not_what_they_are_of(kind, levels):
    value = nested(levels, kind)
    wide = [{"a": [1, 2]}, value, *range(100)]
    assert is_deep(value) == (levels > MAX_DEPTH)
    assert is_deep(wide, MAX_DEPTH + 1) == (levels > MAX_DEPTH)
    if levels > MAX_DEPTH:
        with pytest.raises(ValueError, match=r"100 levels|Circular"):
            shallow_json(value)


def test_what_refers_to_itself_is_too_deep_and_what_is_shared_is_looked_at_once():
    itself = []
    itself += [itself, itself]
    assert is_deep(itself)
    shared = [1]
    for _ in range(60):
        shared = [shared, shared]
    assert not is_deep(shared)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_as_deep_as_workers_take_is_pickled_where_recursion_is_bounded_most(kind):
    def at(frames):
        return at(frames - 1) if frames else pickle.dumps(nested(MAX_MESSAGE_DEPTH, kind))

    assert at(300)  # calls that a worker may be in already


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [MAX_DEPTH, 480, 900, 60_000])
def test_arguments_that_are_too_deep_are_refused_wherever_they_are(kind, levels):
    deep = nested(levels, kind)
    one = signature("t", args=[deep])
    ways = {
        "args": ("t", [deep], None),
        "kwargs": ("t", None, {"x": deep}),
        "a signature": (one, None, None),
        "a named argument": (signature("t", kwargs={"x": deep}), None, None),
        "a chain": (chain(signature("t"), one), None, None),
        "a group": (group([signature("t"), one]), None, None),
        "a chord's header": (chord([one], signature("t")), None, None),
        "a chord's body": (chord([signature("t")], one), None, None),
        "a link": ({"link": [one]}, None, None),
        "a link for errors": ({"link_error": [one]}, None, None),
    }
    for where, (task, args, kwargs) in ways.items():
        if isinstance(task, dict) and "task" not in task:
            task = signature("t", options=task)
        with pytest.raises(EnqueueError, match="100 levels"):
            check(task, args, kwargs, None, MOST)
            pytest.fail(where)


def test_ordinary_arguments_are_not_too_deep():
    check("t", [nested(MAX_DEPTH - 1)], {"x": nested(MAX_DEPTH - 1)}, None, MOST)
    check("t", [["["] * 500], {"x": [{"a": 1}] * 500}, None, MOST)
    check(chain(signature("t", args=[nested(MAX_DEPTH - 1)])), None, None, None, MOST)


@pytest.mark.parametrize("way", ["args", "kwargs", "signature"])
def test_arguments_that_are_too_large_or_too_many_are_refused(way):
    def ask(value):
        given = {"args": ("t", value, None), "kwargs": ("t", None, dict(enumerate(value)))}
        given["signature"] = (group(signature("t", args=value)), None, None)
        check(*given[way], None, 4096)

    ask(["x" * 4000])
    with pytest.raises(EnqueueError, match="TASKBRIDGE_ARGUMENT_BYTES, which is 4096"):
        ask(["x" * 4096])
    with pytest.raises(EnqueueError, match=f"at most {MAX_ARGUMENTS}"):
        ask([1] * (MAX_ARGUMENTS + 1))


def test_signatures_that_are_nested_without_end_are_refused_and_not_walked_for_ever():
    endless = group(signature("t"))
    endless.kwargs["tasks"] = [endless, endless]
    with pytest.raises(EnqueueError, match="nested"):
        list(leaves(endless))
    deep = signature("t")
    for _ in range(2_000):
        deep = chord([signature("t")], deep)
    with pytest.raises(EnqueueError, match="nested"):
        check(deep, None, None, None, MOST)


def test_what_another_serializer_may_know_is_left_to_it():
    check(signature("t", args=[object(), {1, 2}]), None, None, None, MOST)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 480, 980, 60_000])
def test_what_a_task_reports_is_bounded_and_ends_it_all_the_same(levels):
    deep = nested(levels)
    assert outcomes.result(deep) == {"result_omitted": True}
    assert isinstance(shown(deep), str)
    assert isinstance(outcomes.error(ValueError(deep))["message"], str)
    bridge = Bridge(settings=Settings(broker_url="memory://"))
    with pytest.raises(EnqueueError, match="100 levels"):
        bridge.push("x", deep, everyone=True)


@pytest.mark.parametrize("levels", [MAX_PACKET_DEPTH - 1, MAX_PACKET_DEPTH + 1, 800, 60_000])
def test_a_packet_is_refused_beyond_the_same_depth_on_every_python(levels):
    text = "[" * levels + "]" * levels
    if levels < MAX_PACKET_DEPTH:
        assert FiniteJson.loads(text)
    else:
        with pytest.raises((ValueError, RecursionError)):
            FiniteJson.loads(text)
