"""SQL databases that jobs write into: targets, tables, and whose they are.

Imports only modules beside the folders.
"""
