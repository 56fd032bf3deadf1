"""Seats in a Ray cluster, and who watches it: processes that are spoken to as the local renderer is."""

from __future__ import annotations

from darkroom.executor.local import Program, python_environment
from darkroom.executor.settings import BridgeSettings, ClusterSettings

#: The one place that names them: nobody imports what imports Ray, it is processes.
BRIDGE = "darkroom.cluster.bridge"
WATCH = "darkroom.cluster.watch"

#: The name of the watcher, which is no seat: those have a stroke in theirs.
WATCHER = "ray"


def bridge(settings: BridgeSettings) -> Program:
    """What renders on a machine of the cluster."""
    return Program(BRIDGE, settings.as_line(), _environment(settings.cluster))


def watcher(settings: BridgeSettings) -> Program:
    """What tells which machines there are."""
    return Program(WATCH, settings.as_line(), _environment(settings.cluster))


def _environment(cluster: ClusterSettings) -> dict[str, str]:
    """Ray reads these when it is imported. A cluster that keeps to its defaults refuses whoever has no token."""
    defaults = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    token = {"RAY_AUTH_TOKEN_PATH": cluster.token_file} if cluster.token_file else {}
    return defaults | python_environment() | token
