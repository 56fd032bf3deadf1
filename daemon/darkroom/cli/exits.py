"""The exit statuses."""

from __future__ import annotations

DONE = 0
REFUSED_OR_FAILED = 1  #: also: nothing is known of that name, no daemon runs
WRONG_USAGE = 2  #: argparse's own
CONFIG_UNUSABLE = 3  #: configuration or folders
SERVICE_UNUSABLE = 78  #: the same, of a systemd service: sysexits(3) calls it EX_CONFIG
INTERRUPTED = 130  #: Ctrl-C, as shells say it
