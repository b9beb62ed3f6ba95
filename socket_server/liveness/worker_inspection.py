"""``WorkerInspection``: asks workers by remote control, and the broker, where tasks are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from amqp.exceptions import AccessRefused, NotAllowed, NotFound, ResourceLocked

from bridge.bus import embedded_transport, stream
from bridge.bus.connection import Connection
from bridge.held_messages import FIELD, presence_of
from bridge.settings import Settings
from socket_server.bus.task_broker import (
    MAX_NAME,
    connected,
    empty_queues,
    query_task,
    queue_declared,
)

__all__ = ["MAX_TASKS", "WorkerInspection"]

logger = logging.getLogger(__name__)

#: Maximum tasks in one query, and queues that are remembered.
MAX_TASKS, MAX_SERVED = 500, 10_000
REFUSED = (
    "taskbridge: this server may not ask workers about silent tasks (see docs/protocol.md, Users "
    "on RabbitMQ), so it calls them lost after TASKBRIDGE_LOST_AFTER without asking: %s"
)


class WorkerInspection:
    """Asks by Celery's remote control, over a new connection for each query.

    Args:
        settings: URL of the broker of tasks.
        exchange: Celery's ``control_exchange``.
    """

    def __init__(self, settings: Settings, exchange: str = "celery") -> None:
        embedded_transport.register()
        self._settings, self._exchange = settings, exchange
        self._is_refused = False
        #: Queues that workers of installed applications were found to consume.
        self._served: set[str] = set()

    def ask(self, tasks: Mapping[str, str | None]) -> dict[str, bool | None]:
        """Return, by task id, whether a worker runs, or may still run, the task.

        True if a worker answers that it has the task, and if the task's worker does not answer but
        the broker still has its connection: a process that is suspended, or too busy to answer,
        keeps its connection until it misses Celery's heartbeats; one that dies loses it at once.
        None if the broker cannot be asked. Takes some seconds at most.

        Args:
            tasks: task ids, with the node name of the worker that began to run each; None if
                unknown.
        """
        try:
            with connected(self._settings) as connection:
                return self._ask(connection, tasks)
        except (AccessRefused, NotAllowed) as error:
            if not self._is_refused:
                logger.warning(REFUSED, error)
            self._is_refused = True
            return dict.fromkeys(tasks, False)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.warning("taskbridge: the broker of tasks cannot be asked: %s", error)
            return dict.fromkeys(tasks)

    def _ask(
        self, connection: Connection, tasks: Mapping[str, str | None]
    ) -> dict[str, bool | None]:
        found = _Answers(query_task(connection, self._exchange, tasks))
        silent = {node for node in tasks.values() if node and node not in found.nodes}
        held = self._held(connection, silent)
        return {task: task in found.tasks or node in held for task, node in tasks.items()}

    def without_message(self, tasks: Mapping[str, str]) -> set[str]:
        """Return those of some waiting tasks whose messages neither a queue nor a worker has.

        Takes some seconds at most. The broker is read before and after the workers are asked.

        Args:
            tasks: task ids, with the queue that each was published to.
        """
        try:
            with connected(self._settings) as connection:
                return self._without_message(connection, tasks)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.debug("taskbridge: messages cannot be looked for: %s", error)
            return set()

    def _without_message(self, connection: Connection, tasks: Mapping[str, str]) -> set[str]:
        before = _read(connection, tasks.values())
        left = {task: queue for task, queue in tasks.items() if queue in before}
        if not left:
            return set()
        found = _Holders(query_task(connection, self._exchange, left, with_queues=True))
        if len(self._served) > MAX_SERVED:
            self._served.clear()
        self._served.update(found.queues)
        same = before.items() & _read(connection, left.values()).items()
        sure = {queue for queue, number in same if self._is_sure(queue, number, found)}
        return {
            task
            for task, queue in left.items()
            if task not in found.tasks and {queue, presence_of(queue)} <= sure
        }

    def _is_sure(self, queue: str, consumers: int | None, found: _Holders) -> bool:
        """Whether all consumers of a queue without ready messages have answered.

        A queue without consumers may be one that the broker does not read: it reports a quorum
        queue without a quorum so. A queue that does not exist may be one of another broker.
        """
        answered = found.queues[queue]
        if consumers is None:
            return not answered and queue in self._served
        return 0 < consumers == answered

    def _held(self, connection: Connection, nodes: Iterable[str]) -> set[str]:
        """Return the workers whose control queues, and so their connections, exist."""
        if not stream.is_amqp(self._settings.broker):
            return set()
        return {node for node in nodes if self._is_held(connection, node)}

    def _is_held(self, connection: Connection, node: str) -> bool:
        queue = f"{node}.{self._exchange}.pidbox"
        if len(queue.encode()) > MAX_NAME:
            return False
        try:
            return bool(queue_declared(connection, queue)[1])
        except ResourceLocked:
            return True  # exclusive to an open connection
        except NotFound:
            return False


def _read(connection: Connection, queues: Iterable[str]) -> dict[str, int | None]:
    """Return what ``empty_queues`` does of some queues, and of those of their workers."""
    return empty_queues(connection, {name for one in queues for name in (one, presence_of(one))})


class _Answers:
    """Nodes that answered, and the tasks that they have.

    Args:
        answers: answers of the workers, each ``{node: {task: ...}}``.
    """

    def __init__(self, answers: Iterable[object]) -> None:
        self.nodes: set[str] = set()
        self.tasks: set[str] = set()
        for answer in answers:
            for node, tasks in answer.items() if isinstance(answer, dict) else ():
                if isinstance(tasks, dict) and "error" not in tasks:
                    self.nodes.add(node)
                    self.tasks.update(tasks)


class _Holders:
    """What workers of installed applications have answered, see ``bridge.held_messages``.

    Args:
        answers: answers of the workers, as for :class:`_Answers`.
    """

    def __init__(self, answers: Iterable[object]) -> None:
        #: Tasks that a worker of any application has.
        self.tasks = _Answers(answers).tasks
        #: Number of workers that consume each queue.
        self.queues: Counter[str] = Counter()
        for answer in answers:
            for told in answer.values() if isinstance(answer, dict) else ():
                held = told.get(FIELD) if isinstance(told, dict) else None
                if isinstance(held, dict):
                    self.tasks.update(_names(held.get("tasks")))
                    self.queues.update(_names(held.get("queues")))


def _names(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
