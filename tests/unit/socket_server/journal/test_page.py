"""Positions in a list of jobs."""

from __future__ import annotations

import pytest

from socket_server.journal.page import decode_next, encode_next


def test_a_position_is_that_of_the_job_it_was_made_of():
    assert decode_next(encode_next((1000.25, "a:b"))) == (1000.25, "a:b")


@pytest.mark.parametrize("after", ["", "x", ":", "1.0", "1.0:", ":j", "nan:j", "inf:j", "1e999:j"])
def test_what_is_no_position_in_the_list_is_refused(after):
    with pytest.raises(ValueError, match=r"no place|could not convert"):
        decode_next(after)
