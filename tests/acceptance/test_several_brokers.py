"""Several URLs of a broker: any one that lives is enough, at the start and later."""

from __future__ import annotations

import subprocess

import pytest

from support.link import Link
from support.ports import free_port
from support.wait import until


@pytest.fixture
def links(rabbitmq):
    """Four ways to the broker, of which only the last leads there."""
    url = rabbitmq.new_vhost()
    port = int(url.rpartition("/")[0].rpartition(":")[2])
    links = [Link(free_port()) for _ in range(3)] + [Link(port)]
    yield links, ";".join(url.replace(f":{port}/", f":{link.port}/") for link in links), port
    for link in links:
        link.close()


def test_any_one_of_four_brokers_that_lives_is_enough_and_it_may_be_another_later(links, new_stack):
    links, urls, port = links
    stack = new_stack(urls)
    stack.start_server()
    stack.start_worker()

    def run():
        job = stack.bridge.enqueue("support.add", [1, 2], owner="ada")
        assert list(stack.bridge.watch(job.id, timeout=60))[-1]["type"] == "succeeded"

    run()
    doctor = subprocess.run(
        stack.command("doctor"), env=stack.env, capture_output=True, text=True, check=False
    )
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    # Another lives now, which is not the next of the old one.
    links[1].point(port)
    links[3].point(free_port())
    until(stack.healthy, 60, "the server to read from the broker that lives")
    run()
    stack.bridge.close()
