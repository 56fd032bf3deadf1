"""What people get. One thread decides what is written to the share; it, and its hands, may hang on it.

backlog   pure           What waits to be written, and what of it comes first.
events    pure           What is told to the service.
trouble   pure           Trouble that is everybody's, and trouble of one name.
answers   edge: outbox   The small file at each name.
mirrors   edge: outbox   Which folder mirrors which sub-folder of the inbox.
results   edge: outbox   A folder is built under a hidden name, and appears by one rename.
hands     shell          Several writes beside each other, where the share is slow.
thread    shell          In order, kept and tried again while the share is away.
"""
