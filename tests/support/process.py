"""A program that a test runs beside itself, and surely ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from support import preloaded
from support.wait import until

ROOT = Path(__file__).resolve().parents[2]

#: Characters of a program's output that a failure quotes.
QUOTED = 4000


class Process:
    """A running program in a session of its own, its output in a file.

    Args:
        argv: the program and its arguments.
        log: file that receives stdout and stderr, appended to; its folder is made when missing;
            default a temporary one.
        env: its whole environment; default that of the tests.
        cwd: its working folder; default the repository.
        name: what failures call it; default the program's name.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        log: Path | None = None,
        env: Mapping[str, str] | None = None,
        *,
        cwd: Path = ROOT,
        name: str | None = None,
    ) -> None:
        self.name = name or Path(argv[0]).name
        self._temporary = log is None
        self.log = log or _temporary_file()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command, variables = [str(part) for part in argv], dict(os.environ if env is None else env)
        with self.log.open("ab") as output:
            self._popen = preloaded.start(command, variables, cwd, output) or subprocess.Popen(
                command,
                env=variables,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, which is its group's and its session's as well."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit status (negative: the signal that ended it); None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self.returncode is None

    @property
    def output(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def await_output(self, text: str, timeout: float = 30.0) -> str:
        """Wait until ``text`` is in its output; return the output.

        Raises:
            AssertionError: it ended, or the time is up; quotes the output.
        """
        self.until(lambda: text in self.output, timeout, repr(text))
        return self.output

    def until(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Wait for ``condition()``, as :func:`support.wait.until`, while the program runs.

        Raises:
            AssertionError: it ended, or the time is up; quotes the output.
        """
        try:
            until(lambda: condition() or not self.running, timeout, f"{what} of {self.name}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._quoted()}") from None
        if not condition():
            raise AssertionError(
                f"{self.name} ended with {self.returncode} before {what}\n{self._quoted()}"
            )

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end and return its exit status.

        Raises:
            AssertionError: it still runs after ``timeout`` seconds; quotes the output.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            message = f"{self.name} still runs after {timeout:g} s"
            raise AssertionError(f"{message}\n{self._quoted()}") from None

    def signal(self, number: int) -> None:
        """Send a signal to the program alone, not to its children."""
        self._popen.send_signal(number)

    def stop(self, timeout: float = 15.0) -> int:
        """End it with SIGTERM, then its group with SIGKILL; return its exit status.

        Args:
            timeout: seconds that SIGTERM is given.
        """
        self.thaw()
        if self.running:
            self._popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        return self.kill()

    def kill(self) -> int:
        """End it and its group with SIGKILL; return its exit status."""
        # The leader may be gone and its children not: the group lives as long as any of them.
        self._signal_group(signal.SIGKILL)
        return self._popen.wait(10)

    def tracebacks(self) -> str:
        """Return a traceback of each thread of it and its children, if they were preloaded."""
        if not isinstance(self._popen, preloaded.Forked):
            return ""  # gunicorn takes the same signal for a request to start anew
        before = len(self.output)
        asked = [one for one in (self.pid, *children_of(self.pid)) if _dumps_tracebacks(one)]
        for pid in asked:
            with suppress(ProcessLookupError):
                os.kill(pid, preloaded.DUMP_TRACEBACKS)
        with suppress(AssertionError):  # some may be frozen
            until(lambda: self.output[before:].count("Current thread") >= len(asked), 5)
        return self.output[before:]

    def freeze(self) -> None:
        """Stop its group in its tracks, as a machine that hangs."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its group go on."""
        self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: int) -> None:
        # Nobody is left; macOS says PermissionError where the last member is a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _quoted(self) -> str:
        return f"--- output of {self.name} ---\n{self.output[-QUOTED:]}"

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._temporary:
            self.log.unlink(missing_ok=True)


def finished(
    command: Sequence[str | Path], folder: Path, env: Mapping[str, str], timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return it with what it printed.

    Args:
        command: command with its arguments.
        folder: its working folder.
        env: its environment.
        timeout: seconds that it may take.
    """
    options = {"capture_output": True, "text": True, "check": False}
    return subprocess.run([*map(str, command)], cwd=folder, env=env, timeout=timeout, **options)


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children; none if it is gone."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def is_dead(pid: int) -> bool:
    """Tell whether a process has ended; one whose parent does not ask for it counts."""
    try:
        # The name before it is in parentheses, and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def _dumps_tracebacks(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return bool(caught >> (preloaded.DUMP_TRACEBACKS - 1) & 1)


def kill_all(process: Process) -> None:
    """Kill a process and its children at once, wherever they are, as when their host dies."""
    for pid in [process.pid, *children_of(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _temporary_file() -> Path:
    handle, path = tempfile.mkstemp(prefix="taskbridge-", suffix=".log")
    os.close(handle)
    return Path(path)
