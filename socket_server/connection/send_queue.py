"""What waits for one client: bounded, and only the newest of what replaces what came before it."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from socket_server.messages.answer import PIECE, Answer
from socket_server.observability.counters import Flow

__all__ = ["Backlog", "backlog_class"]

#: Bytes that are handed out before the client has taken them: what comes meanwhile can then still
#: replace what waits.
HANDED_OUT = 4 * 1024
#: Part of the bound that may wait for a client which has taken nothing for so many seconds: a burst
#: is not to end a connection that keeps up, nor a dead one to cost much.
MUCH, PATIENCE = 0.125, 0.5
#: Seconds between two looks whether an answer was taken: the first and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5


class Backlog:
    """Stands in for the queue of an Engine.IO socket; mixed into the queue class of its mode.

    A packet with an attribute ``latest`` takes the place of the one that waits with the same, and
    goes to the end, so that the order of a task's events holds.
    """

    #: Bytes that wait at most; beyond, all is let go, for the client will be disconnected.
    most = 0
    #: Where is counted what was replaced, and let go.
    flow = Flow()
    #: What the mode's queues raise.
    empty: type[Exception] = Exception
    clock = staticmethod(time.monotonic)

    queue: OrderedDict[Hashable, Any]

    def _init(self, maxsize: int | None) -> None:
        self.queue = OrderedDict()
        #: Bytes that wait.
        self.size = 0
        #: Whether more than ``most`` bytes waited.
        self.over = False
        #: Answers that were put in, and those of them that the client has taken. Under threads each
        #: has one thread that counts it.
        self._answers = self._taken = self._answers_handed_out = 0
        self._has_ended = False
        self._handed_out = 0
        self._number = 0
        self._taken_at: float | None = None

    def _put(self, packet: Any) -> None:
        if packet is None:
            self._has_ended = True
        elif self.over:
            return
        self._answers += isinstance(packet, Answer)
        key = getattr(packet, "latest", None)
        if key is None:
            self._number += 1
            key = self._number
        elif (before := self.queue.pop(key, None)) is not None:
            self.size -= _size(before)
            self.flow.conflated += 1
        self.queue[key] = packet
        self.size += _size(packet)
        if len(self.queue) > 1 and self._is_over():
            self._let_go()

    def _is_over(self) -> bool:
        if self.size <= MUCH * self.most:
            return False
        return self.size > self.most or self.stuck() > PATIENCE

    def _let_go(self) -> None:
        self.over = True
        self.flow.dropped += len(self.queue)
        self.queue.clear()
        self.size = 0

    def _get(self) -> Any:
        _, packet = self.queue.popitem(last=False)
        self.size -= _size(packet)
        return packet

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the next packet; not too many of them before the client has taken some."""
        if not block and self._handed_out >= HANDED_OUT:
            raise self.empty
        if block:
            self._handed_out, self._taken_at = 0, None
            self._taken, self._answers_handed_out = self._taken + self._answers_handed_out, 0
        packet = super().get(block, timeout)  # type: ignore[misc]
        if packet is None:  # the end is there for each request that waits for packets
            self.put(None)  # type: ignore[attr-defined]
        self._handed_out += _size(packet)
        self._answers_handed_out += isinstance(packet, Answer)
        if self._taken_at is None:
            self._taken_at = self.clock()
        return packet

    def put_frame(self, frame: Any) -> None:
        """Put in a frame, for one who does not ``get``.

        Args:
            frame: with its ``data``, their ``size``, and ``latest``.
        """
        if self.over:
            return
        self._answers += isinstance(frame, Answer)
        queue, key = self.queue, frame.latest
        if key is None:
            key = frame
        elif (before := queue.pop(key, None)) is not None:
            self.size -= before.size
            self.flow.conflated += 1
        queue[key] = frame
        self.size += frame.size
        if self.size > MUCH * self.most and len(queue) > 1 and self._is_over():
            self._let_go()

    def take(self, most: int) -> tuple[list[bytes], bool]:
        """Return bytes of the frames that wait, and whether the end follows them.

        Args:
            most: bytes to take, unless the first frame alone has more. Of an answer it is a piece.
        """
        taken: list[bytes] = []
        left = most
        while self.queue:
            key, frame = next(iter(self.queue.items()))
            if frame is None:
                self.queue.clear()
                return taken, True
            if isinstance(frame, Answer):
                if not taken:
                    taken.append(self._piece(key, frame, min(most, PIECE)))
                break
            left -= frame.size
            if left < 0 and taken:
                break
            del self.queue[key]
            self.size -= frame.size
            taken.append(frame.data)
        return taken, False

    def _piece(self, key: Hashable, answer: Answer, most: int) -> bytes:
        """Return the next fragment of an answer, which waits until its last was taken."""
        fragment = answer.frame(most)
        if answer.done:
            del self.queue[key]
            self.size -= answer.size
            self._taken += 1
        return fragment

    @property
    def answering(self) -> bool:
        """Whether an answer waits, so that the client's next request is not to be read yet."""
        return (self._answers > self._taken or self.over) and not self._has_ended

    def take_only(self) -> bytes | None:
        """Return the only frame that waits, if it is one that many get; else None."""
        key, frame = next(iter(self.queue.items()))
        if frame is None or isinstance(frame, Answer):
            return None
        del self.queue[key]
        self.size = 0
        return frame.data  # type: ignore[no-any-return]

    def each(self, change: Callable[[Any], Any]) -> None:
        """Replace each packet that waits by what ``change`` makes of it."""
        for key, packet in self.queue.items():
            self.queue[key] = change(packet)
        self.size = sum(map(_size, self.queue.values()))

    def await_taken(self, sleep: Callable[[float], Any], timeout: float = math.inf) -> bool:
        """Wait until no answer waits; return whether that came true in time.

        Args:
            sleep: of the mode; lets others have their turn.
            timeout: seconds to wait at most.
        """
        pause, waited = 0.0, 0.0
        while self.answering and waited < timeout:
            sleep(pause)
            waited += pause
            pause = min(LONGEST_PAUSE, 2 * pause or FIRST_PAUSE)
        return not self.answering

    def begin(self) -> None:
        """Note that what was handed out waits for the client, for one who does not ``get``."""
        self._taken_at = self.clock()

    def end(self) -> None:
        """Note that the client has taken what was handed out."""
        self._taken_at = None

    def stuck(self) -> float:
        """Return for how many seconds the client has taken nothing of what was handed out."""
        return 0.0 if self._taken_at is None else self.clock() - self._taken_at

    def task_done(self) -> None:
        """Do nothing: nobody waits for the end of what may be replaced."""

    def join(self) -> None:
        """Do not wait: a client that takes nothing would make it wait for ever."""


def _size(packet: Any) -> int:
    if (size := getattr(packet, "size", None)) is not None:
        return int(size)
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


def backlog_class(queue: type, empty: type[Exception], most: int, flow: Flow | None = None) -> type:
    """Return a class of backlogs for a mode of python-engineio.

    Args:
        queue: the mode's class of queues.
        empty: what they raise.
        most: bytes that wait at most.
        flow: where is counted what is replaced, and let go; default one that nobody reads.
    """
    names = {"most": most, "empty": empty, "flow": flow or Flow()}
    return type("ClientBacklog", (Backlog, queue), names)
