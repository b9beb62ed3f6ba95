"""``JobWidget``: a job's live progress in a notebook, drawn by the server's ``<job-progress>``."""

from __future__ import annotations

from bridge import extras

extras.demand("notebook")

import anywidget  # noqa: E402
import traitlets  # noqa: E402

from bridge.client.bridge import Bridge, Job  # noqa: E402

__all__ = ["JobWidget"]

#: What the browser runs: a module with ``render``, as ``anywidget`` wants it. The element comes
#: from the server, so that it is of the server's version.
SCRIPT = """
async function render({ model, el }) {
  const names = ["url", "job", "token", "label", "lines"];
  const [url, job, token, label, log] = names.map((name) => model.get(name));
  try {
    await import(`${url}/static/job-progress.js`);
  } catch {
    el.textContent = `This browser cannot reach the taskbridge server at ${url}.`;
    return;
  }
  const element = document.createElement("job-progress");
  el.replaceChildren(Object.assign(element, { url, job, token, label, log }));
  return () => element.remove();
}
export default { render };
"""


class JobWidget(anywidget.AnyWidget):
    """Shows a job's bars, state and last log lines, and a button that cancels it.

    The browser connects to the server itself, and the widget moves while the kernel is busy. The
    server's ``TASKBRIDGE_ORIGINS`` must name the origin of the notebook's page. The widget's state
    has a token for this job alone: it is in the notebook's file if widgets are saved with it.

    Args:
        job: a job, or its id.
        bridge: signs the token of a job that is named by its id; default ``Bridge()``.
        url: URL under which the browser reaches the server; default ``TASKBRIDGE_URL``.
        label: name of the job; default its title, or its task's name.
        lines: number of log lines; default 3.

    Raises:
        SettingsError: there is no secret, or ``anywidget`` is not installed (when the module is
            imported).
    """

    _esm = SCRIPT
    url = traitlets.Unicode().tag(sync=True)
    job = traitlets.Unicode().tag(sync=True)
    token = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    lines = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        job: Job | str,
        *,
        bridge: Bridge | None = None,
        url: str | None = None,
        label: str = "",
        lines: int = 3,
    ) -> None:
        if isinstance(job, str):
            job = Job(id=job, name="", owner=None, bridge=bridge or Bridge())
        url = (url or job.bridge.settings.server_url).rstrip("/")
        super().__init__(url=url, job=job.id, token=job.token, label=label, lines=lines)
