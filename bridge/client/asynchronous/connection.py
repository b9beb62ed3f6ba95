"""``SharedConnection``: one connection on which an event loop watches many jobs."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import random
import time
from collections.abc import Callable, Iterable
from typing import cast

from bridge.client.asynchronous.socket_client import AsyncSocketClient, ConnectionLost
from bridge.client.asynchronous.subscription import Subscription
from bridge.client.asynchronous.subscriptions import Subscriptions
from bridge.client.socket_client import explain
from bridge.client.status import Service
from bridge.client.watch_state import RECONNECT, Answer, is_temporary, pause
from bridge.errors import ServerUnavailable, TaskbridgeError
from bridge.protocol.json_types import JobEvent, JSONObject

__all__ = ["SharedConnection"]

logger = logging.getLogger(__name__)

#: Least seconds from one token to the next that only names fewer jobs.
DROP = 1.0
LOST = "the connection to the socket server at {} was lost: it is tried again"


class SharedConnection:
    """A connection with a token for all jobs that are watched on it; it lasts as long as they are.

    Args:
        bridge: signs the tokens.
        shard: shard whose servers have the jobs; None if there is only one.
        on_end: called when no job is watched any more.
    """

    def __init__(
        self, bridge: Service, shard: int | None, on_end: Callable[[SharedConnection], object]
    ) -> None:
        self._bridge, self.shard, self._on_end = bridge, shard, on_end
        self._url = bridge.settings.url_of(shard)
        self._subscriptions = Subscriptions(bridge.settings.max_watched)
        #: Whether a job can be watched on this connection.
        self.takes = self._subscriptions.takes
        #: Subscriptions for which the request ``watch`` has not been sent yet, in order.
        self._waiting: dict[Subscription, None] = {}
        #: Jobs that the connection's token names.
        self._named: set[str] = set()
        self._named_at = -DROP
        self._is_expiring = False
        #: Why there is no connection, in one sentence; empty while there is one.
        self._why = explain(self._url, None, None)
        self._has_connected = False
        #: Seconds between two requests.
        self._gap = 0.0
        self._woken = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def join(self, job: str, request: Callable[[], JSONObject]) -> Subscription:
        """Watch a job; see :class:`Subscription` for the arguments."""
        subscription = Subscription(job, request, self._ask)
        subscription.lost(self._why) if self._why else subscription.connected()
        self._subscriptions.add(subscription)
        return subscription

    async def leave(self, subscription: Subscription) -> None:
        """Watch a job no more; the last one waits until the connection is closed."""
        has_left = self._subscriptions.discard(subscription)
        self._waiting.pop(subscription, None)
        self._woken.set()
        if not self._subscriptions.jobs:
            if has_left:  # once: a second cancellation would interrupt the connection's end
                self._on_end(self)
                self._task.cancel()
            await asyncio.wait([self._task])

    def _ask(self, subscription: Subscription) -> None:
        self._waiting[subscription] = None
        self._woken.set()

    async def _run(self) -> None:
        try:
            await self._stay_connected()
        except Exception as error:
            if not isinstance(error, TaskbridgeError):
                logger.exception("taskbridge: watches have failed")
            self._on_end(self)
            for subscription in self._subscriptions:
                subscription.end(copy.copy(error))  # each raises its own

    async def _stay_connected(self) -> None:
        attempt = 0
        while True:
            why = LOST.format(self._url)
            try:
                await self._connect()
                attempt = 0
            except ServerUnavailable as error:
                why = str(error)
                self._warn(why)
            self._why = why
            for subscription in self._subscriptions:
                subscription.lost(why)
            await asyncio.sleep(_delay(attempt))
            attempt += 1

    def _warn(self, why: str) -> None:
        # Without a timeout a watch tries for ever, and nothing else would say why.
        if not self._has_connected and why != self._why:
            logger.warning("taskbridge: %s; trying again", why)

    async def _connect(self) -> None:
        """Connect, and send requests until the connection is lost."""
        handlers = {"job": self._deliver, "token_expiring": self._expire}
        path = self._bridge.settings.socket_path
        client = AsyncSocketClient(self._url, path, handlers)
        jobs = set(self._subscriptions.jobs)
        async with client.connected(self._token(jobs)) as ended:
            self._named, self._is_expiring, self._gap = jobs, False, 0.0
            self._why, self._has_connected = "", True
            for subscription in self._subscriptions:
                subscription.connected()
            ended.add_done_callback(lambda _: self._woken.set())
            with contextlib.suppress(ConnectionLost):
                await self._talk(client, ended)

    async def _talk(self, client: AsyncSocketClient, ended: asyncio.Future[None]) -> None:
        while not ended.done():
            if (answer := await self._request(client)) is None:
                await self._rest()
            elif wait := self._pause(answer):
                await asyncio.wait([ended], timeout=wait)

    async def _rest(self) -> None:
        """Wait until a request is due."""
        self._woken.clear()
        ended = self._named - self._subscriptions.jobs
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DROP if ended else None):
                await self._woken.wait()

    async def _request(self, client: AsyncSocketClient) -> Answer | None:
        """Send the request that is due, and return its answer; None if none is due."""
        jobs = self._subscriptions.jobs
        if self._is_expiring or (self._waiting and not jobs <= self._named):
            return await self._refresh(client)
        if self._waiting:
            subscription = next(iter(self._waiting))
            del self._waiting[subscription]
            return await client.request("watch", subscription.request(), subscription.answered)
        # A token that names fewer jobs ends the watches of the others.
        is_due = time.monotonic() - self._named_at >= DROP
        return await self._refresh(client) if is_due and jobs != self._named else None

    async def _refresh(self, client: AsyncSocketClient) -> Answer:
        jobs, self._named_at = set(self._subscriptions.jobs), time.monotonic()
        request: JSONObject = {"token": self._token(jobs), "renew": False}
        self._is_expiring = False
        answer = await client.request("refresh", request)
        if answer.get("ok"):
            self._named = jobs
        elif is_temporary(answer.get("error")):
            self._is_expiring = True
        else:
            raise ConnectionLost  # the next connection is refused for the same reason
        return answer

    def _token(self, jobs: Iterable[str]) -> str:
        return self._bridge.token(jobs=sorted(jobs), shard=self.shard)

    def _pause(self, answer: Answer) -> float:
        """Return the seconds until the next request."""
        error = answer.get("error", {})
        if error.get("code") != "too_many_requests":
            return self._gap
        self._gap = 1 / self._bridge.settings.requests_per_second
        return pause(error)

    def _deliver(self, event: object = None, *_: object) -> None:
        job = event.get("job") if isinstance(event, dict) else None
        for subscription in self._subscriptions.of(job):
            subscription.event(cast("JobEvent", event))

    def _expire(self, *_: object) -> None:
        self._is_expiring = True
        self._woken.set()


def _delay(attempt: int) -> float:
    """Return the seconds before the next attempt to connect."""
    first, longest, part = RECONNECT.values()
    return min(first * 2.0 ** min(attempt, 10), longest) * random.uniform(1 - part, 1 + part)
