"""Packets that are none. Who sends one is hung up on, with a token and without."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from support.attacks import Target, attack
from support.raw import BINARY


def hung_up_on(target: Target, *messages: str | bytes) -> None:
    """Assert that each of the messages costs who sends it the connection."""
    strangers: Iterable[Callable] = (lambda: target.raw().open(), target.intruder)
    for message in messages:
        for connected in strangers:
            with connected() as raw:
                if isinstance(message, bytes):
                    raw.frame(message, BINARY)
                else:
                    raw.say(message)
                raw.await_end()


@attack
def binary_event(target: Target) -> None:
    placeholder = '{"_placeholder":true,"num":0}'
    hung_up_on(target, f'451-/jobs,["watch",{placeholder}]', f"461-/jobs,1[{placeholder}]")


@attack
def attachment_bomb(target: Target) -> None:
    hung_up_on(target, '459999999999-/jobs,["watch"]', '45999999999-["x"]', '4511-/app,["x"]')


@attack
def attachments_that_nobody_announced(target: Target) -> None:
    hung_up_on(target, b"\x00" * 1000, b"\x04", b"")


@attack
def binary_event_of_no_namespace(target: Target) -> None:
    hung_up_on(target, '451-["x",{"_placeholder":true,"num":0}]')


@attack
def event_that_is_not_json(target: Target) -> None:
    hung_up_on(target, '42/jobs,1["watch",{"job":', "42/jobs,1{", "42/jobs,1['x']", "42/jobs,1nul")


@attack
def event_without_a_name(target: Target) -> None:
    hung_up_on(target, "42/jobs,1[]", "42/jobs,1{}", "42/jobs,1[7]", "42/jobs,1[null]", "42/jobs,1")


@attack
def not_a_number_and_infinity(target: Target) -> None:
    hung_up_on(
        target,
        '42/jobs,1["watch",{"job":NaN}]',
        '42/jobs,1["watch",{"job":-Infinity}]',
        '42/jobs,1["jobs",{"limit":1e999}]',
    )


@attack
def nesting_beyond_all_bounds(target: Target) -> None:
    deep = "[" * 30_000
    hung_up_on(target, f'42/jobs,1["watch",{deep}', f"40/jobs,{deep}", f"4{deep}", f"3{deep}")
    for levels in (510, 800, 30_000):  # the first two of which a parser may well take
        whole = "[" * levels + "]" * levels
        hung_up_on(target, f'42/jobs,1["watch",{whole}]', f"40/jobs,{whole}")


@attack
def number_of_many_digits(target: Target) -> None:
    hung_up_on(target, f'42/jobs,1["watch",{{"job":{"9" * 20_000}}}]', f'42/jobs,{"9" * 500}["x"]')


@attack
def packet_of_an_unknown_type(target: Target) -> None:
    hung_up_on(
        target, "x", "9", "47", "48/jobs,", "4", "bAAAA", "\N{DIGIT FOUR}\N{FULLWIDTH DIGIT TWO}"
    )


@attack
def packet_that_only_servers_send(target: Target) -> None:
    hung_up_on(target, '44/jobs,{"message":"no"}', '0{"sid":"x"}')


@attack
def connects_without_end(target: Target) -> None:
    with target.raw().open() as raw:
        for _ in range(20):
            raw.say('40/jobs,{"token":"rubbish"}')
        raw.await_end()


@attack
def connects_to_namespaces_that_are_not_there(target: Target) -> None:
    with target.raw().open() as raw:
        for name in ("/", "/admin", "/jobs/..", "/JOBS", "/" + "x" * 1000):
            raw.say(f"40{name}," if name != "/" else "40")
        raw.await_end()


@attack
def events_before_a_connect(target: Target) -> None:
    with target.raw().open() as raw:
        for name in ("watch", "jobs", "enqueue"):
            raw.say(f'42/jobs,1["{name}",{{"job":"{target.job}"}}]')
        raw.await_end()  # without an answer, when its time is up
