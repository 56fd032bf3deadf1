"""Who renders: the port, and whoever stands behind it. Knows a plan; no record, no answer, no spool.

port       pure            Commands one way, events the other.
wire       pure            Both as lines of JSON.
settings   pure            What a renderer is told before its first message.
devices    edge: machine   What devices this machine has, told without torch.
child      edge: process   The other end of the channel, for whoever is started so.
ray        edge: process   Seats in a Ray cluster, and who watches it: the processes that they are.
pull       edge: process  A model of the hub, downloaded by a process of its own.
local      edge: process   A renderer process: started, spoken to, killed, told of when it dies.
"""
