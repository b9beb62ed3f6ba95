"""What passes between clients and a server, as bytes: requests, answers, frames, JSON.

Imports ``concurrency``.
"""
