"""WebSocket frames that no browser sends."""

from __future__ import annotations

import zlib

from support.attacks import Target, attack
from support.raw import CONTINUATION, PING, TEXT


@attack
def frame_that_is_too_large(target: Target) -> None:
    with target.intruder() as raw:
        raw.frame(b"4" * 1_000_000)
        raw.await_end()


@attack
def frame_that_claims_to_be_endless(target: Target) -> None:
    """At the latest when as much has come as a message may have."""
    for claim in (2**63 - 1, 2**64 - 1, 10**9):
        with target.intruder() as raw:
            raw.frame(b"42", claim=claim)
            for _ in range(1000):
                if not raw.send(b"x" * 4096):
                    break
            raw.await_end()


@attack
def message_of_many_fragments(target: Target) -> None:
    with target.raw().open() as raw:
        raw.frame(b"4" * 16_000, final=False)
        for _ in range(200):
            if not raw.frame(b"x" * 16_000, CONTINUATION, final=False):
                break
        raw.await_end()


@attack
def fragments_of_nothing(target: Target) -> None:
    with target.raw().open() as raw:
        raw.frame(b"4", final=False)
        empty = b"\x00\x80\0\0\0\0"
        while raw.send(empty * 1000):
            pass
        raw.await_end()


@attack
def flood_of_pings(target: Target) -> None:
    with target.intruder() as raw:
        raw.socket.settimeout(0.5)  # the answers to them are not read
        for _ in range(60):
            if not raw.send(b"\x89\x80\0\0\0\0" * 1000):
                break
        raw.await_end()


@attack
def frame_without_a_mask(target: Target) -> None:
    with target.raw().open() as raw:
        raw.frame(b'42/jobs,["x"]', masked=False)
        raw.await_end()


@attack
def frames_of_reserved_kinds(target: Target) -> None:
    for opcode, rsv in ((3, 0), (7, 0), (11, 0), (15, 0), (TEXT, 2), (TEXT, 1)):
        with target.raw().open() as raw:
            raw.frame(b"4", opcode, rsv=rsv)
            raw.await_end()


@attack
def control_frames_that_are_not(target: Target) -> None:
    for frame in (
        b"\x09\x80\0\0\0\0",
        b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126,
        b"\x88\x81\0\0\0\0x",
    ):
        with target.raw().open() as raw:
            raw.send(frame)
            raw.await_end()


@attack
def continuation_of_nothing(target: Target) -> None:
    with target.raw().open() as raw:
        raw.frame(b"4", CONTINUATION)
        raw.await_end()


@attack
def text_that_is_not_utf8(target: Target) -> None:
    for text in (b"42/jobs,[\xff\xfe]", b"42\xc0\xaf", b"42\xed\xa0\x80"):
        with target.intruder() as raw:
            raw.frame(text)
            raw.await_end()


@attack
def compression_bomb(target: Target) -> None:
    with target.raw() as raw:
        reply = raw.upgrade("Sec-WebSocket-Extensions: permessage-deflate")
        assert "sec-websocket-extensions" not in reply.headers
        raw.frame(zlib.compress(b"4" * 10_000_000)[2:-4], rsv=4)
        raw.await_end()


@attack
def close_and_go_on(target: Target) -> None:
    with target.intruder() as raw:
        raw.frame(b"\x03\xe8", 8)
        raw.say('42/jobs,1["jobs",{}]')
        raw.frame(b"", PING)
        raw.await_end()


@attack
def message_in_a_message(target: Target) -> None:
    with target.intruder() as raw:
        raw.frame(b'42/jobs,1["jobs"', final=False)
        raw.frame(b'42/jobs,2["jobs",{}]')
        raw.await_end()


@attack
def reasons_of_a_close_that_are_none(target: Target) -> None:
    for payload in (
        b"\x03\xed",
        b"\x00\x01",
        b"\xff\xff",
        b"\x03\xe8\xff\xfe",
        b"\x03\xe8" + b"x" * 123,
    ):
        with target.intruder() as raw:
            raw.frame(payload, 8)
            raw.await_end()


@attack
def lengths_that_are_longer_than_needed(target: Target) -> None:
    text = b'42/jobs,1["jobs",{}]'
    for head in (b"\x81\xfe\x00\x14", b"\x81\xff" + bytes(7) + b"\x14"):
        with target.intruder() as raw:
            raw.send(head + bytes(4) + text)
            message = raw.message()
            assert message == "" or message.startswith("43/jobs,1")


@attack
def frames_in_single_bytes(target: Target) -> None:
    text = b'42/jobs,77["jobs",{}]'
    with target.intruder() as raw:
        for byte in bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text:
            assert raw.send(bytes([byte]))
        assert raw.message().startswith("43/jobs,77")


@attack
def flood_of_pongs(target: Target) -> None:
    with target.intruder() as raw:
        while raw.send((b"\x8a\xfc\0\0\0\0" + b"x" * 124) * 100):
            pass
        raw.await_end()


@attack
def empty_messages_without_end(target: Target) -> None:
    with target.intruder() as raw:
        raw.send(b"\x81\x80\0\0\0\0" * 10)
        raw.await_end()
