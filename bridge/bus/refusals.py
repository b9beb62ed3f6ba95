"""Explains why a broker that answers refuses its client: the login, the virtual host, a right."""

from __future__ import annotations

from bridge.bus import tls
from bridge.settings import Settings

__all__ = ["explain", "explain_events", "is_login", "refusal"]

#: What to change, by the beginning of AMQP's reply text, and whether that text has more to say.
#: {0} is the rest of the text, {1} the setting.
SENTENCES = {
    "ACCESS_REFUSED - Login": (
        "the broker refuses the login: correct the user and the password in {1}"
    ),
    "ACCESS_REFUSED - ": "{0}: give the user that right at the broker, or set another user in {1}",
    "NOT_ALLOWED - ": "{0}: correct the virtual host at the end of {1}, or make it at the broker",
    "PRECONDITION_FAILED - inequivalent": (
        "a queue exists with other arguments (inequivalent{0}): delete it at the broker, or "
        "correct TASKBRIDGE_QUEUE_TYPE"
    ),
}
LOGIN = SENTENCES["ACCESS_REFUSED - Login"]


def explain_events(error: BaseException, settings: Settings) -> str:
    """Return an explanation of a connection error of the events' broker; see :func:`explain`."""
    return explain(error, f"TASKBRIDGE_{'EVENTS' if settings.events_url else 'BROKER'}_URL")


def explain(error: BaseException, setting: str) -> str:
    """Return an explanation of a connection error: if it is known, a sentence on what to change.

    Args:
        error: error of a broker's library, or one that has such an error as its cause.
        setting: name of the setting that has the broker's URL.
    """
    return refusal(error, setting) or tls.explain(error)


def refusal(error: BaseException, setting: str) -> str | None:
    """Return why a broker that answers refuses its client, and what to change; else None.

    Args:
        error: see :func:`explain`.
        setting: see :func:`explain`.
    """
    return next(filter(None, (_refusal(one, setting) for one in tls.chain(error))), None)


def is_login(error: BaseException) -> bool:
    """Whether a broker refuses the login itself, and not one action."""
    return any(
        type(one).__name__ == "AuthenticationError" or "ACCESS_REFUSED - Login" in str(one)
        for one in tls.chain(error)
    )


def _refusal(error: BaseException, setting: str) -> str | None:
    if type(error).__name__ == "AuthenticationError":  # redis-py's, which may not be installed
        return LOGIN.format("", setting)
    text = str(error)
    for begin, sentence in SENTENCES.items():
        _, found, rest = text.partition(begin)
        if found:
            return sentence.format(rest, setting)
    return None
