"""What the daemon says of itself.

snapshot    pure           Typed; the service fills it.
heartbeat   edge: report   Written every few seconds, by threads of its own.
"""
