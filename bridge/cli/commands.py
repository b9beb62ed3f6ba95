"""The click commands and their options; the other modules of the package implement them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, get_args

import click

from bridge import tracing
from bridge.cli.console import echo, quiet_logs, safe_errors
from bridge.client.bridge import Bridge
from bridge.errors import EnqueueError, SettingsError, TaskbridgeError
from bridge.extras import ASYNC_MODES
from bridge.protocol.json_types import JobState, JSONObject
from bridge.settings import PREFIX, Settings, without_keys

__all__ = ["cli"]

T = TypeVar("T")


class Group(click.Group):
    """A group that prints taskbridge's own errors as one sentence, without a traceback."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        quiet_logs()
        with safe_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with safe_errors():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (SettingsError, EnqueueError) as error:
            raise click.UsageError(str(error)) from None
        except TaskbridgeError as error:
            echo(f"taskbridge: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(130)


def _examples(*lines: str) -> dict[str, str]:
    return {"epilog": "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)}


def _json(kind: type[T], name: str) -> Callable[[click.Context, click.Parameter, str | None], T]:
    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> T:
        try:
            parsed: object = json.loads(value) if value else kind()
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"is not JSON: {error}") from None
        if not isinstance(parsed, kind):
            raise click.BadParameter(f"must be a JSON {name}")
        return parsed

    return parse


owner_option = click.option("--owner", metavar="O", help="Whose jobs: an id that you choose.")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celery-taskbridge")
def cli() -> None:
    """Run long Celery jobs and watch them live."""


@cli.command(**_examples("taskbridge demo", "taskbridge demo --path ~/Documents --once"))
@click.option("--path", type=click.Path(path_type=Path), help="Folder to checksum.")
@click.option("--once", is_flag=True, help="Exit after the job, with its exit status.")
def demo(path: Path | None, once: bool) -> None:
    """Start everything, run one real job, and show its bars here and in a browser."""
    from bridge.cli.demo import run

    sys.exit(run(path, once=once))


@cli.command(**_examples("taskbridge up", "taskbridge up --broker-url amqp:// --workers 2"))
@click.option("--broker-url", metavar="URL", help="RabbitMQ or Redis, not the embedded broker.")
@click.option("--app", metavar="MODULE:APP", default="workers.app", help="Your Celery application.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64))
@click.option("--servers", default=1, show_default=True, type=click.IntRange(1, 16))
@click.option("--flower/--no-flower", default=True, help="Whether Flower is started too.")
def up(broker_url: str | None, app: str, workers: int, servers: int, flower: bool) -> None:
    """Run a socket server, workers, an archive and Flower until Ctrl-C."""
    from bridge.cli.stack import up as run

    sys.exit(run(broker_url, app=app, workers=workers, servers=servers, flower=flower))


@cli.command(
    **_examples(
        "taskbridge serve",
        "TASKBRIDGE_PORT=8001 taskbridge serve",
        "taskbridge serve --certfile chain.pem --keyfile key.pem",
        "taskbridge serve --async-mode gevent",
    )
)
@click.option("--certfile", metavar="FILE", help="Speak TLS with this chain of certificates (PEM).")
@click.option("--keyfile", metavar="FILE", help="Its key, if that is not in the same file.")
@click.option(
    "--async-mode",
    type=click.Choice(ASYNC_MODES),
    help="Library that it runs on; default TASKBRIDGE_ASYNC_MODE.",
)
def serve(certfile: str | None, keyfile: str | None, async_mode: str | None) -> None:
    """Run one socket server."""
    from bridge.cli.programs.process import SERVER, execute, require

    require("bridge", "socket_server")
    options = {"CERTFILE": certfile, "KEYFILE": keyfile, "ASYNC_MODE": async_mode}
    for name, value in options.items():
        if value is not None:
            os.environ[PREFIX + name] = value
    execute(SERVER)


@cli.command(**_examples("TASKBRIDGE_ARCHIVE_URL=sqlite:////srv/archive.sqlite taskbridge archive"))
def archive() -> None:
    """Write what happens to jobs into the database that TASKBRIDGE_ARCHIVE_URL names."""
    from bridge.cli.programs.process import ARCHIVE, execute, require

    require("bridge", "socket_server")
    execute(ARCHIVE, without_keys(os.environ, webhooks=True))


PASS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@cli.command(
    context_settings=PASS,
    **_examples(
        "taskbridge worker", "taskbridge worker --concurrency 4", "taskbridge worker --app shop"
    ),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[CELERY ARGUMENTS]...")
def worker(arguments: tuple[str, ...]) -> None:
    """Run one worker; arguments go to ``celery worker``.

    --app MODULE, or -A MODULE, runs your Celery application, as ``celery -A MODULE`` finds it. If
    it does not call bridge.install itself, that is done, with durable=True.

    SIGTERM lets running jobs go on for TASKBRIDGE_STOP_GRACE seconds, then hands them back.
    """
    from bridge.cli.programs.worker import run_worker

    run_worker(arguments)


@cli.command(
    context_settings={"ignore_unknown_options": True},
    **_examples("taskbridge flower", "taskbridge flower --port=5556"),
)
@click.option("--port", default=5555, show_default=True, type=click.IntRange(1, 65535))
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FLOWER ARGUMENTS]...")
def flower(port: int, address: str, arguments: tuple[str, ...]) -> None:
    """Run Flower, for operators; other arguments go to it.

    TASKBRIDGE_FLOWER_AUTH (user:password) is who may use it, and TASKBRIDGE_BROKER_API is where it
    learns how long RabbitMQ's queues are.
    """
    from bridge.cli.programs.flower import run_flower

    run_flower(Settings.from_environ(), port, address, arguments)


@cli.command(
    **_examples(
        """taskbridge enqueue workers.jobs.checksum --kwargs '{"path": "a"}' --owner me --watch""",
        """taskbridge enqueue my.task --args '[1, 2]' --owner me""",
    )
)
@click.argument("name")
@click.option("--args", "args", callback=_json(list, "list"), metavar="JSON", help="A JSON list.")
@click.option("--kwargs", callback=_json(dict, "object"), metavar="JSON", help="A JSON object.")
@owner_option
@click.option("--title", metavar="T", help="What people see in place of NAME.")
@click.option("--queue", metavar="Q", help="Celery queue; default the task's.")
@click.option("--redact", is_flag=True, help="Keep its arguments from operators.")
@click.option("--webhook", metavar="W", help="Webhook to which the archive delivers its end.")
@click.option("--key", metavar="K", help="Idempotency key: the same key gives the same job.")
@click.option("--watch", "watching", is_flag=True, help="Watch it, and exit with its status.")
def enqueue(
    name: str,
    args: list[object],
    kwargs: JSONObject,
    owner: str | None,
    title: str | None,
    queue: str,
    redact: bool,
    webhook: str | None,
    key: str | None,
    watching: bool,
) -> None:
    """Enqueue the task NAME and print the job's id."""
    bridge = Bridge()
    tracing.start(bridge.settings, "taskbridge")
    job = bridge.enqueue(
        name,
        args,
        kwargs,
        owner=owner,
        title=title,
        redact=redact,
        webhook=webhook,
        idempotency_key=key,
        **({"queue": queue} if queue else {}),
    )
    echo(job.id)
    if watching:
        from bridge.cli.watch import follow

        sys.exit(follow(bridge, job.id))


@cli.command(**_examples("taskbridge watch 5b0c…", "taskbridge watch 5b0c… --json | jq .type"))
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="One JSON event a line.")
def watch(job: str, as_json: bool) -> None:
    """Watch JOB until it ends; exit status 0 if it succeeded, else 1."""
    from bridge.cli.watch import follow

    sys.exit(follow(Bridge(), job, as_json=as_json))


def _time(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    from bridge.cli.format import time_of

    try:
        return None if value is None else time_of(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@cli.command(
    **_examples(
        "taskbridge jobs --owner me",
        "taskbridge jobs --failed --since yesterday --grep 'disk full'",
        "taskbridge jobs --failed --since yesterday --run-again",
        "taskbridge jobs --owner me --json",
    )
)
@click.option("--owner", metavar="O", help="Whose jobs.")
@click.option("--all", "everybody", is_flag=True, help="Jobs of all owners.")
@click.option("--state", type=click.Choice(get_args(JobState)), help="Only jobs in this state.")
@click.option("--failed", is_flag=True, help="The same as --state failed.")
@click.option("--name", metavar="TASK", help="Only jobs of this task.")
@click.option("--grep", "text", metavar="TEXT", help="Only jobs that have all words of TEXT.")
@click.option("--since", metavar="TIME", callback=_time, help="yesterday, 2h, 2026-11-28 …")
@click.option("--until", metavar="TIME", callback=_time, help="Only jobs enqueued before TIME.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200))
@click.option("--json", "as_json", is_flag=True, help="One JSON snapshot a line.")
@click.option("--run-again", is_flag=True, help="Run the ended ones of all these jobs again.")
@click.option("--cancel", "cancelling", is_flag=True, help="Cancel the unfinished ones of them.")
@click.option("--yes", is_flag=True, help="Do it without a question.")
@click.option("--key", metavar="K", help="Idempotency key of --run-again; default a new one.")
def jobs(
    owner: str | None,
    everybody: bool,
    failed: bool,
    limit: int,
    as_json: bool,
    run_again: bool,
    cancelling: bool,
    yes: bool,
    key: str | None,
    **wanted: object,
) -> None:
    """List jobs, newest first: those that servers hold, and those of the archive.

    Without --owner, an option that says which jobs lists those of all owners. TEXT is looked for in
    names, errors, meta and lines.

    --run-again and --cancel act on all jobs that are found, whatever --limit says, once you have
    seen how many and said yes. The exit status is 1 if one of them was refused. --run-again waits
    for the server's limits; repeat it with the --key that it prints, if it does not get to the end.
    """
    from bridge.cli.actions.bulk import act
    from bridge.cli.listing import show

    if failed and wanted["state"] not in (None, "failed"):
        raise click.UsageError("--failed and --state contradict each other: leave out one")
    found = {name: value for name, value in wanted.items() if value is not None}
    if failed:
        found["state"] = "failed"
    if not (owner or everybody or found):
        raise click.UsageError("say which jobs: --owner O, or --all for those of all owners")
    if run_again and cancelling:
        raise click.UsageError("--run-again and --cancel contradict each other: leave out one")
    if run_again or cancelling:
        action = "run_again" if run_again else "cancel"
        sys.exit(act(Bridge(), owner, found, action, yes=yes, key=key, as_json=as_json))
    show(Bridge(), owner, found, limit=limit, as_json=as_json)


@cli.command("run-again", **_examples("taskbridge run-again 5b0c…"))
@click.argument("job")
@click.option("--key", metavar="K", help="Idempotency key: the same key gives the same job.")
@click.option("--resume", is_flag=True, help="Go on from its checkpoint, where it stopped.")
def run_again(job: str, key: str | None, resume: bool) -> None:
    """Enqueue JOB once more, with the arguments that the archive keeps; print the new job's id."""
    from bridge.cli.actions.bulk import run_again as ask

    ask(Bridge(), job, key, resume=resume)


@cli.command(**_examples("taskbridge logs 5b0c… > job.log"))
@click.argument("job")
def logs(job: str) -> None:
    """Print the whole log of JOB; lines that begin with [taskbridge: say what is missing."""
    from bridge.cli.request import show_log

    show_log(Bridge(), job)


@cli.command(**_examples("taskbridge cancel 5b0c…"))
@click.argument("job")
def cancel(job: str) -> None:
    """Stop JOB: not started any more if it waits, asked to end if it runs."""
    from bridge.cli.request import cancel as ask

    ask(Bridge(), job)


@cli.command(
    **_examples(
        'taskbridge token --owner me --scope "watch cancel enqueue" --ttl 3600',
        "taskbridge token --job 5b0c…",
    )
)
@owner_option
@click.option("--job", "job_ids", multiple=True, metavar="J", help="A single job; repeatable.")
@click.option(
    "--scope", default="watch", show_default=True, help="watch, cancel, enqueue, operate."
)
@click.option("--ttl", default=900.0, show_default=True, help="Seconds until it expires.")
def token(owner: str | None, job_ids: tuple[str, ...], scope: str, ttl: float) -> None:
    """Print a token for a client."""
    echo(Bridge().token(owner=owner, jobs=job_ids, scope=scope, ttl=ttl), whole=True)


@cli.command(**_examples("taskbridge doctor", "TASKBRIDGE_BROKER_URL=amqp://… taskbridge doctor"))
def doctor() -> None:
    """Check each link by a probe through broker, worker, server and client."""
    from bridge.cli.doctor import examine

    sys.exit(examine())


@cli.command(**_examples("taskbridge settings", "taskbridge settings | grep MAX_"))
def settings() -> None:
    """List all settings, with their defaults and meanings; a dot marks those that are set."""
    from bridge.cli.listing import show_settings

    show_settings()
