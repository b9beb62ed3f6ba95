"""The revisions of the archive's tables, each in a module; none is changed once it is released."""
