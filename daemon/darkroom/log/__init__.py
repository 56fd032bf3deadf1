"""The log.

logger    edge: log   A logger that costs nothing before something is said.
setup     edge: log   For people on a terminal, for the journal, for files.
journal   edge: log   systemd's journal, entry by entry.
"""
