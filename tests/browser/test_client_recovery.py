"""The page's client, in a real browser, that is cut off again and again."""

from __future__ import annotations

from support.link import Link
from support.wait import until

WATCH = """
async ({ token, job }) => {
  const { connect } = await import("/static/client.js");
  const seen = { lines: [], recovered: [], ended: false, states: [] };
  window.seen = seen;
  const take = (event) => {
    for (const line of event.data.lines ?? []) seen.lines.push(line.message);
    seen.ended ||= event.type === "succeeded";
  };
  const client = connect({ token });
  client.addEventListener("watched", ({ detail }) => {
    seen.recovered.push(detail.recovered);
    detail.events.forEach(take);
  });
  client.addEventListener("job", ({ detail }) => take(detail));
  client.addEventListener("state", ({ detail }) => {
    seen.states.push(detail.state);
    if (detail.state === "live" && seen.recovered.length === 0) client.follow(job).catch(() => {});
  });
}
"""

REFRESH = """
async (job) => {
  const { connect } = await import("/static/client.js");
  window.states = [];
  const client = connect({ getToken: () => window.newToken() });
  client.addEventListener("state", ({ detail }) => window.states.push(detail.state));
  const watched = client.watch(job);
  for await (const event of watched) window.last = event.type;
  return { state: watched.snapshot.state, connection: client.state };
}
"""


def test_a_client_that_is_cut_off_gets_every_line_once_in_order(page, stack, tmp_path):
    enough = tmp_path / "enough"
    job = stack.bridge.enqueue("support.counts_until", [str(enough)], owner="cut")
    with Link(stack.port) as link:
        page.goto(f"http://127.0.0.1:{link.port}/")
        page.evaluate(WATCH, {"token": stack.token(jobs=[job.id]), "job": job.id})

        def seen():
            return page.evaluate("window.seen")

        for number in range(4):
            news = len(seen()["lines"]) + 20
            until(lambda number=number: len(seen()["recovered"]) > number, 30, "an answer")
            until(lambda news=news: len(seen()["lines"]) >= news, 30, f"{news} lines")
            link.cut()
        enough.touch()
        until(lambda: seen()["ended"], 30, "the end of the job")
        lines = stack.bridge.status(job.id)["result"]
        assert seen()["lines"] == [f"line {number}" for number in range(lines)]
        assert len(seen()["recovered"]) > 3
        assert all(seen()["recovered"])


def test_a_token_is_replaced_before_it_expires_without_a_new_connection(new_stack, page, rabbitmq):
    stack = new_stack(rabbitmq.new_vhost(), TASKBRIDGE_TOKEN_LEEWAY="0.5")
    stack.start_server()
    stack.start_worker()
    job = stack.bridge.enqueue("support.work", [8.0], owner="me")
    given = []

    def new_token():
        given.append(stack.token(jobs=[job.id], ttl=4))
        return given[-1]

    page.expose_function("newToken", new_token)
    page.goto(f"{stack.url}/")
    told = page.evaluate(REFRESH, job.id)
    assert told == {"state": "succeeded", "connection": "live"}
    assert page.evaluate("window.states") == ["live"]
    assert len(given) >= 3
