"""The deployable Socket.IO server: reads events from the broker, pushes them to watchers."""
