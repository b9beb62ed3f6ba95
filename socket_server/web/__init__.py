"""The web page and its JavaScript client; ``static/`` is served as it is."""
