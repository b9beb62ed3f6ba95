"""The way of an event through the server: journal, clients, observers.

In: events of the bus, and events that the server makes itself. Out: changes of the journal, to
rooms of clients and to observers. Imports every folder that an event passes; only ``app`` imports
this one.
"""
