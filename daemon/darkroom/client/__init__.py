"""What a person's commands do to a daemon that may run on another machine: files in the two folders, nothing else.

requests     shell         One request or the daemon: dropped, sent again, taken back, asked after, paused.
many         shell         The same for many requests at once: all that the two folders hold below a sub-folder.
cleaning     shell         Old results that are still as Darkroom made them, and how they are removed.
share        edge: share   One of the two folders, whoever else may write there: no link is followed below it.
naming       edge: chance  What a person means by the name of a request, and what is called so in no case.
answers      pure          What an answer says: whether it is to this request, and where its pictures are.
heartbeat    edge: process What a heartbeat says: whether somebody is there, and what each renderer does.
"""
