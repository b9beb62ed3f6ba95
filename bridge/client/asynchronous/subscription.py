"""``Subscription``: what a shared connection delivers to one watch, in order and bounded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bridge.client.watch_state import Answer, Message
from bridge.protocol.json_types import JobEvent, JSONObject

__all__ = ["Subscription"]

#: Most messages that wait for a watch. A watch that reads more slowly gets no more of them, and
#: then asks for what it has missed, as after a reconnect.
MOST = 1_000


class Subscription:
    """The messages for one watch, which it takes one by one.

    It follows its job once the server has answered ``watch``, until the connection is lost or the
    watch is ``MOST`` messages behind. When it does not, and no message waits, it asks.

    Args:
        job: id of the job.
        request: returns the request ``watch`` as of now.
        ask: requests that the connection sends it; called once for each answer or lost connection.
    """

    def __init__(
        self,
        job: str,
        request: Callable[[], JSONObject],
        ask: Callable[[Subscription], object],
    ) -> None:
        self.job, self.request, self._ask = job, request, ask
        self.is_connected = False
        #: Why there is no connection, in one sentence.
        self.why = ""
        self._messages: deque[Message | None] = deque()
        self._woken = asyncio.Event()
        self._follows = self._has_asked = False

    def __len__(self) -> int:
        return len(self._messages)

    async def wait(self) -> None:
        """Wait for a message, or until the connection is lost or there again."""
        if not (self._messages or self._follows or self._has_asked):
            self._has_asked = True
            self._ask(self)
        if not self._messages:
            self._woken.clear()
            await self._woken.wait()

    def take(self) -> Message | None:
        """Return the next of the messages; None if the watch was closed."""
        return self._messages.popleft()

    def connected(self) -> None:
        """Note that there is a connection."""
        self.is_connected = True
        self._woken.set()

    def lost(self, why: str) -> None:
        """Note that there is no connection.

        Args:
            why: one sentence.
        """
        self.is_connected = self._follows = self._has_asked = False
        self.why = why
        self._woken.set()

    def answered(self, answer: Answer) -> None:
        """Take the answer to ``watch``."""
        self._has_asked, self._follows = False, bool(answer.get("ok"))
        self._put(("watch", answer))

    def event(self, event: JobEvent) -> None:
        """Take an event of the job; the answer to come has it, if the watch does not follow."""
        if len(self._messages) >= MOST:
            self._follows = False
        if self._follows:
            self._put(("job", event))

    def end(self, error: Exception | None = None) -> None:
        """End the watch.

        Args:
            error: exception that it raises; None if it was closed.
        """
        self._put(None if error is None else ("refused", error))

    def _put(self, message: Message | None) -> None:
        self._messages.append(message)
        self._woken.set()
