"""Words by which jobs are found."""

from __future__ import annotations

from socket_server.archive.words import MAX_WORD, words_of


def test_words_are_letters_and_digits_in_lower_case():
    assert list(words_of("ConnectionError: timeout_ms=30, [Grüße] don't")) == [
        "connectionerror", "timeout", "ms", "30", "grüße", "don", "t",
    ]  # fmt: skip


def test_names_and_values_of_json_have_words_but_not_what_says_nothing():
    assert list(words_of({"file": ["a b", 2, True, None], "n": {"x": 1.5}})) == [
        "file", "a", "b", "2", "n", "x", "1", "5",
    ]  # fmt: skip


def test_a_long_word_is_found_by_its_beginning():
    assert list(words_of("x" * 1000)) == ["x" * MAX_WORD]
