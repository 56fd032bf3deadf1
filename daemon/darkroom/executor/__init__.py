"""Who renders: the port, and what passes through it."""
