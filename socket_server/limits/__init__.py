"""How much a client, an owner or an address may ask for, and whose pages may connect.

In: connections and requests. Out: leave or refusal, and when to ask again. Imports ``messages`` and
``observability``.
"""
