"""The long life. One thread owns all state; the files carry the verbs of a request's way.

supervise     shell   Lives, one after another.
compose       shell   Puts one life together.
loop          shell   Events, one after another; after each, what has become possible.
events        shell   What comes to that thread, and in which order it is taken up.
restart       shell   What the last life left is mended.
acceptance    shell   People's files are accepted, refused, or known from before.
cancelling    shell   People take requests back.
wishes        shell   What people ask for by the name of a file beside a request.
errands       shell   Both, a few at a time.
taking        shell   From the inbox into our keeping.
orders        shell   What dispatch decides is carried out, and those who wait are told why.
rendering     shell   Attempts on seats: begun, stepped, painted, ended.
cluster       shell   Seats on other machines, which come and go.
fleet         shell   The seats' lives, their models, and what is held.
delivery      shell   How a request ends.
ledger        shell   Every live request: its record on disk, its entry in memory.
knowledge     shell   What is known of each model without loading it.
telling       shell   What the service says of itself.
monitoring    shell   What others may read of it, over all lives: HTTP, a file of numbers, commands.
entries       pure    Where each live request is, and the moves that are legal.
line          pure    Who waits, and in which order.
dispatch      pure    Who gets which seat, who is taken, who waits for what.
gate          pure    What holds everything up.
seating       pure    Which renderers there are.
seats         pure    What a seat is doing, and what comes next.
blame         pure    Whose fault a death or an error is.
holds         pure    What must not be tried right now.
"""
