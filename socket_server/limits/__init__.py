"""How much a client, an owner or an address may ask for.

In: connections and requests. Out: leave or refusal, and when to ask again. Imports ``messages`` and
``observability``.
"""
