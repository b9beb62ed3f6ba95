"""``Repeater``: makes a request again while the server refuses it, or jobs of it, for now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep

from bridge.cli.console import echo
from bridge.cli.request import TemporaryRefusal
from bridge.client.watch_state import Patience, is_temporary, pause
from bridge.protocol.json_types import JSONObject

__all__ = ["Repeater"]

#: Minimum seconds between two requests: a limit by the minute lets several jobs pass in that time.
REST = 5.0
WAITING = "refused for now ({}): asking again with the same key, until nothing happens for {:g} s"


class Repeater:
    """Makes requests, and makes them again while they are refused temporarily.

    Args:
        limit: seconds without progress after which it asks no more; 0 to ask once.
    """

    def __init__(self, limit: float) -> None:
        self._limit, self._patience, self._told = limit, Patience(limit, monotonic), False

    def answer(self, ask: Callable[[], JSONObject]) -> JSONObject:
        """Return the answer to a request.

        Raises:
            TemporaryRefusal: the server has refused for ``limit`` seconds.
        """
        while True:
            try:
                return ask()
            except TemporaryRefusal as error:
                if self._is_over():
                    raise
                self._wait(error.wait, str(error))

    def answers(self, ask: Callable[[], JSONObject]) -> Iterator[JSONObject]:
        """Ask for jobs until none is refused temporarily; yield what is new in each answer.

        A temporary refusal is in the last answer alone, if it is there after ``limit`` seconds.

        Raises:
            TemporaryRefusal: as :meth:`answer` does.
        """
        known: set[str] = set()
        over = False
        while not over:
            answer = self.answer(ask)
            later = [one for one in answer["refused"] if is_temporary(one)]
            refused = [one for one in answer["refused"] if one not in later]
            jobs, refused = _new(answer["jobs"], known), _new(refused, known)
            if jobs or refused or not later:
                self._patience.end()
            over = not later or self._is_over()
            yield {**answer, "jobs": jobs, "refused": [*refused, *later] if over else refused}
            if not over:
                self._wait(max(map(pause, later)), later[0]["message"])

    def _is_over(self) -> bool:
        self._patience.begin()
        return self._patience.is_over

    def _wait(self, seconds: float, reason: str) -> None:
        if not self._told:
            echo(WAITING.format(reason, self._limit), err=True)
            self._told = True
        left = self._patience.left
        sleep(min(max(seconds, REST), self._limit if left is None else left))


def _new(some: list[JSONObject], known: set[str]) -> list[JSONObject]:
    """Return results of jobs that are not known yet, which are known then."""
    new = {str(one.get("again_of") or one["job"]): one for one in some}
    new = {job: one for job, one in new.items() if job not in known}
    known.update(new)
    return list(new.values())
