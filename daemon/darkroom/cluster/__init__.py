"""Rendering on other machines by Ray. Imported by nobody: processes, named by strings in `executor/ray.py`.

bridge     edge: Ray       One seat: what the service says goes to an actor, what the actor tells comes back, checked.
watch      edge: Ray       Which machines of the cluster can render, told as they come and go.
driver     edge: Ray       Reaching the cluster, and giving up what hangs.
host       edge: process   The actor: a renderer process on its machine. Knows no Ray.
scratch    edge: disk      The actor's folder on its machine's own disk.
places     pure            From the nodes of a cluster to seats.
returned   pure            What comes back is what was asked for, or it does not count.
versions   pure            Whether two machines have the same software.
picture    edge            The header of a picture.
"""
