"""Every change made to a disk, and what a folder lies on."""
