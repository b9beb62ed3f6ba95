"""Web applications of several frameworks that enqueue a job."""
