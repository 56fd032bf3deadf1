"""Disks: every change made to one, and what a folder lies on.

files         edge: disk          Every change made to a disk.
folder_state  pure                How a folder is, and what is remembered of it.
folders       edge: marker        Is this the folder that we know?
mounts        edge: mount table   What a folder lies on.
nesting       edge: disk          Which folder lies inside which, whatever they are called.
inotify       edge: kernel        Would the kernel tell of changes?
"""
