"""Files that jobs read and write, below the roots that the operator named.

Imports only modules beside the folders.
"""
