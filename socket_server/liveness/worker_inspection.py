"""``WorkerInspection``: asks workers by remote control which tasks they have."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping

import kombu
from amqp.exceptions import AccessRefused, NotAllowed, NotFound, ResourceLocked
from kombu.pidbox import Mailbox

from bridge.bus import embedded_transport, stream
from bridge.bus.connection import Connection, connect
from bridge.settings import Settings
from bridge.untyped import AMQPChannel, KombuProducer

__all__ = ["MAX_TASKS", "WorkerInspection"]

logger = logging.getLogger(__name__)

#: Maximum tasks in one query.
MAX_TASKS = 500
#: Maximum seconds for each step with the broker, and for each further answer of a worker.
BROKER_TIMEOUT, ANSWER_TIMEOUT = 2.0, 1.0
#: Maximum bytes of a queue's name in AMQP.
MAX_NAME = 255
REFUSED = (
    "taskbridge: this server may not ask workers about silent tasks (see docs/protocol.md, Users "
    "on RabbitMQ), so it calls them lost after TASKBRIDGE_LOST_AFTER without asking: %s"
)


class _Producer(kombu.Producer):
    """Publishes once; kombu's mailbox would retry without end."""

    def publish(self, *arguments: object, **options: object) -> object:
        return super().publish(*arguments, **{**options, "retry": False})


class _Mailbox(Mailbox):
    @contextlib.contextmanager
    def producer_or_acquire(
        self, producer: KombuProducer = None, channel: AMQPChannel = None
    ) -> Iterator[KombuProducer]:
        yield producer or _Producer(channel, auto_declare=False)


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
            with self._connect() as connection:
                return self._ask(connection, tasks)
        except (AccessRefused, NotAllowed) as error:
            if not self._is_refused:
                logger.warning(REFUSED, error)
            self._is_refused = True
            return dict.fromkeys(tasks, False)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.warning("taskbridge: the broker of tasks cannot be asked: %s", error)
            return dict.fromkeys(tasks)

    def _connect(self) -> Connection:
        options: dict[str, object] = {"connect_timeout": BROKER_TIMEOUT}
        if stream.is_amqp(self._settings.broker):
            bounds = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
            options["transport_options"] = {
                "max_retries": 1,
                "connect_retries_timeout": 1,
                **bounds,
            }
        return connect(self._settings, self._settings.broker, **options)

    def _ask(
        self, connection: Connection, tasks: Mapping[str, str | None]
    ) -> dict[str, bool | None]:
        mailbox = _Mailbox(self._exchange, type="fanout", accept=["json"], serializer="json")
        answers = mailbox(connection).multi_call(
            "query_task", {"ids": list(tasks)}, timeout=ANSWER_TIMEOUT
        )
        found = _Answers(answers)
        silent = {node for node in tasks.values() if node and node not in found.nodes}
        held = self._held(connection, silent)
        return {task: task in found.tasks or node in held for task, node in tasks.items()}

    def _held(self, connection: Connection, nodes: Iterable[str]) -> set[str]:
        """Return the workers whose control queues, and so their connections, exist."""
        if not stream.is_amqp(self._settings.broker):
            return set()
        return {node for node in nodes if self._is_held(connection, node)}

    def _is_held(self, connection: Connection, node: str) -> bool:
        queue = f"{node}.{self._exchange}.pidbox"
        if len(queue.encode()) > MAX_NAME:
            return False
        # A new channel each time: the broker closes it on a refusal.
        channel = connection.channel()
        try:
            _, _, consumers = channel.queue_declare(queue, passive=True)
        except ResourceLocked:
            return True  # exclusive to an open connection
        except NotFound:
            return False
        channel.close()
        return bool(consumers)


class _Answers:
    """Nodes that answered, and the tasks that they have.

    Args:
        answers: answers of the workers, each ``{node: {task: ...}}``; None for none.
    """

    def __init__(self, answers: Iterable[object] | None) -> None:
        self.nodes: set[str] = set()
        self.tasks: set[str] = set()
        for answer in answers or ():
            for node, tasks in answer.items() if isinstance(answer, dict) else ():
                if isinstance(tasks, dict) and "error" not in tasks:
                    self.nodes.add(node)
                    self.tasks.update(tasks)
