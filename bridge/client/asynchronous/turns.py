"""``Turns``: spreads what begins at once over several turns of the event loop."""

from __future__ import annotations

import asyncio

__all__ = ["Turns"]

#: Most callers that go on in one turn. A watch takes 30 microseconds to begin, on a busy machine
#: three times as long: a thousand at once would hold up all other tasks for 30 to 90 milliseconds.
AT_ONCE = 50


class Turns:
    """Lets ``AT_ONCE`` callers go on in one turn of the event loop, others in later ones."""

    def __init__(self) -> None:
        self._callers = 0

    async def wait(self) -> None:
        """Wait until it is the caller's turn; the first callers of a turn do not wait."""
        if not self._callers:
            asyncio.get_running_loop().call_soon(self._end)
        turns, self._callers = self._callers // AT_ONCE, self._callers + 1
        for _ in range(turns):
            await asyncio.sleep(0)

    def _end(self) -> None:
        self._callers = 0
