"""A job in a notebook: ``from bridge.notebook import JobWidget``. Imports ``client``.

In: a job. Out: a widget of ``anywidget``, which the server's own element draws in the browser.
"""

from bridge.notebook.job_widget import JobWidget

__all__ = ["JobWidget"]
