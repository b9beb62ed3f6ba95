"""``SnapshotTexts``: a snapshot is encoded once, and the cache is bounded."""

from __future__ import annotations

import json

from bridge.protocol.snapshot import Snapshot
from socket_server.journal.snapshot_texts import SnapshotTexts


def test_a_snapshot_is_encoded_once_until_it_is_dropped():
    texts, snapshot = SnapshotTexts(), Snapshot("j")
    encoded = texts.of(snapshot)
    assert json.loads(encoded) == snapshot.encode()
    assert texts.of(snapshot) is encoded
    texts.drop("j")
    assert (len(texts), texts.size) == (0, 0)
    assert texts.of(snapshot) == encoded


def test_beyond_the_bound_the_oldest_texts_are_dropped(monkeypatch):
    texts = SnapshotTexts()
    one = len(texts.of(Snapshot("j0")))
    monkeypatch.setattr("socket_server.journal.snapshot_texts.MAX_TEXTS", 2 * one)
    kept = [texts.of(Snapshot(f"j{number}")) for number in range(1, 5)][-2:]
    assert texts.size == sum(map(len, kept)) == 2 * one
    assert texts.of(Snapshot("j3")) is kept[0]
    assert texts.of(Snapshot("j4")) is kept[1]


def test_a_job_that_is_not_cached_may_be_dropped():
    texts = SnapshotTexts()
    texts.drop("j")
    assert texts.size == 0
