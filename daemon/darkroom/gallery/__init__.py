"""A page in the outbox, for people who look at the shared folder: what has been made, and what goes on.

script    pure           What the page reads: JSON in the clothes of a script, for a page that is a file.
entry     pure           What the page says of one result.
catalogue pure           All results in order, in parts of a few hundred.
now       pure           What goes on at this moment.
results   edge: outbox   The results as they lie there.
small     edge: pictures Makes pictures small: a process of its own, which is imported by nobody.
reducer   edge: process  Has pictures made small.
ground    edge: outbox   Where the page stands, and the folder beside it.
album     edge: outbox   The catalogue there: an index, and parts of it.
smalls    edge: outbox   The small pictures there.
thread    shell          Shows what is delivered, in its own thread, in nobody's way.
rebuild   shell          All of it made anew from the outbox.
"""
