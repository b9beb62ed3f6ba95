"""The programs that commands start: their command lines, environments and what they need."""
