"""The process that watches the cluster: which machines can render, told as they come and go.

Started as `python -m darkroom.cluster.watch FD PID`, like the renderer.
"""

from __future__ import annotations

import sys
import threading

import ray

from darkroom.cluster.driver import Gone, connect, end, end_by, within
from darkroom.cluster.places import places_of
from darkroom.executor.child import Channel, leave_with_service, take_channel
from darkroom.executor.port import Places
from darkroom.executor.settings import BridgeSettings, ClusterSettings

LOOK_EVERY_S = 1.0
SILENCE_S = 8.0


def main(channel_fd: int, parent_pid: int) -> None:
    """Watch until the service is gone, or the cluster."""
    end_of_pair, reader = take_channel(channel_fd, parent_pid)
    settings = BridgeSettings.from_line(reader.readline())
    leave_with_service(reader)
    channel, cluster = Channel(end_of_pair), settings.cluster
    try:
        connect(cluster)
        watch(cluster, channel)
    except Gone as gone:
        end(str(gone))
    except Exception as error:  # noqa: BLE001 - whatever it is, the watcher is begun again
        end_by(error)


def watch(cluster: ClusterSettings, channel: Channel) -> None:
    """Tell of the machines, again and again."""
    while True:
        with within(SILENCE_S, f"cannot reach the Ray cluster at {cluster.address}: no answer for {SILENCE_S:g} s"):
            nodes = ray.nodes()
        channel.send(Places(nodes=places_of(nodes, cluster.resources)))
        threading.Event().wait(LOOK_EVERY_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
