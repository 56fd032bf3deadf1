"""The systemd unit, and the machine that it is installed on."""
