"""The renderer: a child process that owns one device, and the messages that pass between it and the service."""
