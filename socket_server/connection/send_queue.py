"""The send queue of one client: limited in bytes, and newer events replace those they outdate."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Protocol, TypeAlias, cast

from engineio.packet import Packet

from socket_server.messages.answer import PIECE, Answer
from socket_server.observability.counters import Counters

__all__ = ["Frame", "Queued", "SendQueue", "send_queue_class"]

#: Bytes handed out before the client has taken them; the packets left in the queue can still be
#: replaced by newer ones.
HANDED_OUT = 4 * 1024
#: Part of the limit that applies once a client has taken nothing for so many seconds: a burst must
#: not end a connection that keeps up, nor a dead connection cost much memory.
MUCH, PATIENCE = 0.125, 0.5
#: Seconds between two checks whether an answer was taken: the first and the longest pause.
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5


class Frame(Hashable, Protocol):
    """A packet as a WebSocket frame."""

    data: bytes
    #: Bytes.
    size: int
    #: It replaces the queued one with the same value; None for one that replaces none.
    latest: Hashable


#: What a send queue holds: packets (answers are some), or frames; None is the connection's end.
Queued: TypeAlias = Packet | Frame | None


class SendQueue:
    """Send queue of an Engine.IO socket; mixed into the queue class of the async mode.

    A packet with an attribute ``latest`` replaces the queued packet with the same value. It goes to
    the end of the queue, so that a task's events stay in order.
    """

    #: Limit in bytes; beyond it all packets are dropped, and the client will be disconnected.
    most = 0
    #: Counters of replaced and dropped packets.
    flow = Counters()
    #: Exception that the mode's queues raise when empty.
    empty: type[Exception] = Exception
    clock = staticmethod(time.monotonic)

    queue: OrderedDict[Hashable, Queued]

    def _init(self, maxsize: int | None) -> None:
        self.queue = OrderedDict()
        #: Bytes in the queue.
        self.size = 0
        #: Whether the queue has exceeded its limit; it accepts no more packets then.
        self.over = False
        #: Answers put in, answers the client has taken, and answers handed out since. Under threads
        #: one thread alone changes each of them.
        self._answers = self._taken = self._answers_handed_out = 0
        self._has_ended = False
        self._handed_out = 0
        self._number = 0
        self._taken_at: float | None = None

    def _put(self, packet: Queued) -> None:
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

    def _get(self) -> Queued:
        _, packet = self.queue.popitem(last=False)
        self.size -= _size(packet)
        return packet

    def get(self, block: bool = True, timeout: float | None = None) -> Queued:
        """Return the next packet; without blocking, only until ``HANDED_OUT`` bytes are out."""
        if not block and self._handed_out >= HANDED_OUT:
            raise self.empty
        if block:
            self._handed_out, self._taken_at = 0, None
            self._taken, self._answers_handed_out = self._taken + self._answers_handed_out, 0
        packet = super().get(block, timeout)  # type: ignore[misc]
        if packet is None:  # each polling request that waits must see the end
            self.put(None)  # type: ignore[attr-defined]
        self._handed_out += _size(packet)
        self._answers_handed_out += isinstance(packet, Answer)
        if self._taken_at is None:
            self._taken_at = self.clock()
        return packet

    def put_frame(self, frame: Frame | Answer) -> None:
        """Put a frame into a queue that is read by ``take`` and not by ``get``.

        Args:
            frame: a frame, or an answer.
        """
        if self.over:
            return
        if isinstance(frame, Answer):
            self._answers += 1
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
        """Remove frames; return their bytes, and whether the connection ends after them.

        Args:
            most: maximum in bytes, unless the first frame alone has more. Of an answer, one
                fragment is returned.
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
        """Return the next fragment of an answer, which stays queued until its last fragment."""
        fragment = answer.frame(most)
        if answer.done:
            del self.queue[key]
            self.size -= answer.size
            self._taken += 1
        return fragment

    @property
    def answering(self) -> bool:
        """Whether an answer waits or the queue is over its limit: no request is to be read then."""
        return (self._answers > self._taken or self.over) and not self._has_ended

    def take_only(self) -> bytes | None:
        """Remove the only frame and return its bytes; None if it is an answer or the end."""
        key, frame = self.queue.popitem()
        if frame is None or isinstance(frame, Answer):
            self.queue[key] = frame
            return None
        self.size = 0
        return frame.data

    def each(self, change: Callable[[Queued], Queued]) -> None:
        """Replace each queued packet by the return value of ``change``."""
        for key, packet in self.queue.items():
            self.queue[key] = change(packet)
        self.size = sum(map(_size, self.queue.values()))

    def await_taken(self, sleep: Callable[[float], object], timeout: float = math.inf) -> bool:
        """Wait until the client has taken all answers; return whether it did in time.

        Args:
            sleep: sleep function of the async mode, in seconds.
            timeout: seconds to wait at most; default no limit.
        """
        pause, waited = 0.0, 0.0
        while self.answering and waited < timeout:
            sleep(pause)
            waited += pause
            pause = min(LONGEST_PAUSE, 2 * pause or FIRST_PAUSE)
        return not self.answering

    def begin(self) -> None:
        """Note that bytes from ``take`` now wait for the client."""
        self._taken_at = self.clock()

    def end(self) -> None:
        """Note that the client has taken the bytes handed out."""
        self._taken_at = None

    def stuck(self) -> float:
        """Return for how many seconds handed-out bytes have waited for the client; 0.0 for none."""
        return 0.0 if self._taken_at is None else self.clock() - self._taken_at

    def task_done(self) -> None:
        """Do nothing: ``join`` does not wait for tasks."""

    def join(self) -> None:
        """Return at once: a client that takes nothing would block it for ever."""


def _size(packet: Queued) -> int:
    if (size := getattr(packet, "size", None)) is not None:
        return int(size)
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, str | bytes) else 0


def send_queue_class(
    queue: type, empty: type[Exception], most: int, flow: Counters | None = None
) -> type[SendQueue]:
    """Return a class of send queues for an async mode of python-engineio.

    Args:
        queue: the mode's queue class.
        empty: exception that it raises when empty.
        most: limit in bytes.
        flow: counters of replaced and dropped packets; default new ones.
    """
    names = {"most": most, "empty": empty, "flow": flow or Counters()}
    return cast("type[SendQueue]", type("ClientSendQueue", (SendQueue, queue), names))
