"""The systemd unit, and the machine that it is installed on.

notify    edge: systemd   Ready, alive, stopping, and one line of status.
unit      shell           The unit with the paths of a configuration filled in.
step      shell           One change to the machine.
install   shell           What it takes to install it, as a list of commands.
completions shell         What it takes to have shells complete the command.
ray_unit  shell           The units of a Ray cluster, with an address filled in.
ray_install shell         What it takes to join one, and to leave it.
host      shell           How the machine is; carries commands out.
"""
