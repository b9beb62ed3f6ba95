"""Commands that act on several jobs at once, or on one as on several."""
