"""What operators see: metrics, logs, spans.

In: counts, events and the figures that emitters report. Out: lines of logs, samples of Prometheus,
spans of OpenTelemetry. Imports no other folder.
"""
