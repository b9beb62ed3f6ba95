"""What an operator lets the reference jobs read and write, and a job that runs under it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bridge import Settings
from bridge.instrumentation import installed
from bridge.reporting import current_job
from support.reporting import inside_job

__all__ = ["JOB", "OWNER", "granted"]

OWNER = "ada"
JOB = "5b0c2f6e-0000-4000-8000-000000000001"


@contextlib.contextmanager
def granted(
    folder: Path,
    *,
    owner: str | None = OWNER,
    job: str = JOB,
    databases: str = "",
    home: str = "home",
) -> Iterator[Path]:
    """Run as a job that may read ``folder``, and write below ``output`` in it.

    Args:
        databases: as TASKBRIDGE_DATABASES.
        home: name of TASKBRIDGE_HOME in the folder.

    Yields:
        The job's own folder, if the owner and the job have names that are folders' names too.
    """
    output = folder / "output"
    output.mkdir(exist_ok=True)
    variables = {
        "TASKBRIDGE_HOME": str(folder / home),
        "TASKBRIDGE_INPUT_ROOTS": str(folder),
        "TASKBRIDGE_OUTPUT_ROOT": str(output),
        "TASKBRIDGE_DATABASES": databases,
    }
    outer = current_job.here()
    before = installed.replace_settings(Settings.from_environ(variables))
    try:
        with inside_job(job, owner=owner):
            yield output / str(owner) / job
    finally:
        installed.replace_settings(before)
        if outer:
            current_job.enter(*outer)
