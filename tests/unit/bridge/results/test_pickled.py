"""Pickles are read as data: nothing in them is imported or called."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.results.pickled import OBJECT, plain

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda one: st.lists(one) | st.tuples(one, one) | st.dictionaries(st.text(), one),
    max_leaves=20,
)


@given(DATA, st.sampled_from(PROTOCOLS))
def test_plain_data_is_read_as_it_was_pickled(value, protocol):
    assert plain(pickle.dumps(value, protocol)) == value


@given(st.binary(max_size=300))
def test_whatever_is_no_pickle_is_a_value_error_or_data(data):
    with contextlib.suppress(ValueError):
        plain(b"\x80\x04" + data)


class Made:
    """A class of which no test makes an object by reading."""

    def __reduce__(self):
        return (_fail, ())


def _fail():
    raise AssertionError("it was called")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [
        Made(),
        datetime.datetime(2024, 1, 1),
        decimal.Decimal(1),
        {1, 2},
        frozenset([1]),
        b"bytes",
        bytearray(b"x"),
        ValueError("no"),
        Made,
    ],
    ids=lambda one: type(one).__name__,
)
def test_an_object_among_data_is_left_out_and_the_rest_is_read(value, protocol):
    found = plain(pickle.dumps({"before": [1], "object": value, "after": (2,)}, protocol))
    assert found == {"before": [1], "object": OBJECT, "after": (2,)}


#: What only a pickle made by hand has.
BY_HAND = {
    "a call": b"\x80\x04cos\nsystem\n(X\x04\x00\x00\x00truetR.",
    "an instance": b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.",
    "an object": b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "an extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02Pos.system\n.",
    "a state": b"\x80\x02cos\nsystem\n)\x81}b.",
    "an object that is added to": b"\x80\x02cos\nsystem\n(K\x01K\x02e.",
    "an object with items": b"\x80\x02cos\nsystem\nK\x01K\x02s.",
}


@pytest.mark.parametrize("data", BY_HAND.values(), ids=BY_HAND)
def test_nothing_is_called_by_a_pickle_that_was_made_by_hand(data):
    assert plain(data) is OBJECT


#: Small pickles on which pickle.loads, or what is done with its value, takes gigabytes or for ever.
BOMBS = {
    "a memo of 64 GB": b"\x80\x02Nr\xff\xff\xff\xff.",
    "bytes of 2^62": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
    "a frame of 2^62": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"N.",
    "tuples as a key": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
    "deep tuples as a key": b"\x80\x02})" + b"\x85" * 60_000 + b"Ns.",
    "deep lists": b"\x80\x02" + b"]" * 30_000 + b"a" * 29_999 + b".",
    "a list in itself": b"\x80\x02]2a.",
    "marks without end": b"\x80\x02" + b"(" * 60_000 + b".",
    "long digits": b"\x80\x02L" + b"9" * 60_000 + b"L\n.",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_a_bomb_takes_neither_memory_nor_time(data):
    with contextlib.suppress(ValueError):
        plain(data)
