"""JSON of the bus: quick, and the same values and refusals as by Python's own module."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socket_server.messages.strict_json import decode, encode

#: Characters of all kinds, lone surrogates included.
TEXTS = st.text(st.characters(exclude_categories=[]))
FINITE = st.none() | st.booleans() | st.integers() | TEXTS
FINITE |= st.floats(allow_nan=False, allow_infinity=False)


def nested(scalars):
    return st.recursive(scalars, lambda of: st.lists(of) | st.dictionaries(TEXTS, of))


@given(nested(FINITE))
def test_what_is_encoded_is_ascii_and_is_decoded_to_the_same(value):
    text = encode(value)
    assert text.isascii()
    assert decode(text) == decode(text.encode()) == json.loads(text) == value


@given(nested(FINITE), st.booleans())
def test_what_another_encoder_wrote_is_decoded_to_the_same(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert decode(text) == value


def finite(text):
    if not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


@given(st.binary() | st.text('[]{}",:0123456789.eE+-\\u tfn').map(str.encode))
def test_what_is_not_finite_json_is_refused_as_by_pythons_own_module(text):
    try:
        expected = json.loads(text.decode(), parse_constant=finite, parse_float=finite)
    except ValueError:
        with pytest.raises(ValueError):
            decode(text)
    else:
        assert decode(text) == expected


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    with pytest.raises(ValueError, match="not JSON that every client can read"):
        decode(f'{{"a":[{number}]}}')


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**64), 10**60])
def test_integers_of_any_size_are_exact(number):
    assert decode(f"[{number}]") == [number]
    assert decode(encode([number])) == [number]


def test_what_is_nested_too_deeply_raises_a_recursion_error():
    with pytest.raises(RecursionError):
        decode(b"[" * 100_000)
