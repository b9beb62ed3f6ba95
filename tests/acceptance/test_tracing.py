"""One trace of a job: from who enqueues it over its task to those who watch it."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support.process import Process
from support.wait import until


class Collector:
    """Takes spans, as an OpenTelemetry collector does."""

    def __init__(self):
        self.spans = spans = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    said = {one.key: one.value.string_value for one in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        spans.extend((said["service.name"], span) for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def of(self, service, name):
        """Return the spans of a service that have this name."""
        return [span for told, span in self.spans if (told, span.name) == (service, name)]

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.close()


def test_a_job_is_one_trace_from_its_enqueuing_to_its_delivery(
    rabbitmq, new_stack, collector, tmp_path
):
    stack = new_stack(
        rabbitmq.new_vhost(),
        TASKBRIDGE_TRACING="1",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="200",
    )
    stack.start_server()
    stack.start_worker()
    file = tmp_path / "file"
    command = stack.command("enqueue", "support.held", "--args", json.dumps([str(file)]))
    done = subprocess.run(
        [*command, "--owner", "me"], env=stack.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    watching = Process(stack.command("watch", job, "--json"), tmp_path / "watch.log", stack.env)
    # A client that comes later than the end receives no event of it.
    watching.await_output('"pid":')
    file.touch()
    assert watching.wait(60) == 0, watching.output
    told = [json.loads(line) for line in watching.output.splitlines()]
    assert told[-1]["type"] == "succeeded"
    assert not any("trace" in event["data"] for event in told), "it is not for clients"

    until(lambda: collector.of("taskbridge-server", "deliver succeeded"), 60, "the delivery")
    until(lambda: collector.of("taskbridge-worker", "run/support.held"), 60, "the task")
    [enqueued] = collector.of("taskbridge", "apply_async/support.held")
    [ran] = collector.of("taskbridge-worker", "run/support.held")
    [delivered] = collector.of("taskbridge-server", "deliver succeeded")
    assert enqueued.trace_id == ran.trace_id == delivered.trace_id
    assert (ran.parent_span_id, delivered.parent_span_id) == (enqueued.span_id, ran.span_id)
    assert enqueued.start_time_unix_nano < ran.start_time_unix_nano
    assert ran.start_time_unix_nano < delivered.end_time_unix_nano
    said = {one.key: one.value.string_value for one in delivered.attributes}
    assert said == {"taskbridge.job": job, "taskbridge.task": job}
