"""The processes of a comparison: the server that is measured, and those beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.process import Process, children_of  # noqa: E402
from support.stack import Stack  # noqa: E402

__all__ = ["HERE", "Flood", "Prober", "Server", "server_pid"]

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid: int) -> float:
    """Return CPU seconds that a process took so far, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def server_pid(process: Process) -> int:
    """Return the id of the process that serves: under gunicorn, its worker."""
    return [*children_of(process.pid), process.pid][0]


class Server:
    """A server process that is measured.

    Args:
        process: that was started; under gunicorn, the parent of the one that serves.
    """

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def _pid(self) -> int:
        return server_pid(self._process)

    @property
    def cpu(self) -> float:
        """CPU seconds that it took so far."""
        return cpu_of(self._pid)

    @property
    def waited(self) -> float:
        """Seconds for which its threads could have run so far, but had to wait for a core."""
        # Time on a core, time in the queue for one, and the number of turns.
        tasks = Path(f"/proc/{self._pid}/task").glob("*/schedstat")
        return sum(int(one.read_text().split()[1]) for one in tasks) / 1e9

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return self._status("VmRSS:")

    @property
    def peak(self) -> int:
        """Resident bytes at most so far."""
        return self._status("VmHWM:")

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self._pid}/status").read_text()
        return int(text.partition(name)[2].split()[0]) * 1024

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        self._process.kill()


class Flood:
    """The publisher's process.

    Args:
        stack: whose broker and channel it publishes to.
        jobs: whose events it publishes in turn.
        type: of the events.
        way: see ``flood.WAYS``; default straight to RabbitMQ.
        tasks: of each job, which have the events in turn; default one.
    """

    def __init__(
        self, stack: Stack, jobs: int, type: str, way: str = "broker", tasks: int = 1
    ) -> None:
        bus = stack.settings.events, stack.settings.channel
        arguments = (*bus, str(jobs), type, way, str(tasks))
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "flood.py"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()
        self.asked = 0

    def ask(self, count: int, rate: float = 0.0) -> None:
        """Have so many more published, at once or so many a second."""
        assert self._process.stdin is not None
        self.asked += count
        self._process.stdin.write(f"{count} {rate}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until all that was asked for once has been published."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    @property
    def cpu(self) -> float:
        """CPU seconds that it took so far."""
        return cpu_of(self._process.pid)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Prober:
    """A process that asks a server now and then, while others get their events.

    Args:
        port: of the server, on this machine.
        path: what it asks for.
    """

    def __init__(self, port: int, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "prober.py"), str(port), path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> float:
        """End it; return how long the slowest answer took, in milliseconds."""
        said, _ = self._process.communicate(timeout=60)
        return float(said)
