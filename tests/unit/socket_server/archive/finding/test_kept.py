"""Texts as the archive's database keeps them, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from socket_server.archive.finding.kept import kept, unkept

#: Any text, lone surrogates and the characters that are escaped among it.
TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from("\\0u\0d8f\ud800"))


@given(TEXTS)
def test_every_text_is_kept_as_one_that_a_database_takes_and_comes_back(text):
    assert "\0" not in kept(text)
    kept(text).encode()
    assert unkept(kept(text)) == text
