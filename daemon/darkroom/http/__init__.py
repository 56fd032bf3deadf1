"""What the daemon shows over HTTP, when it is asked to: its health, its numbers, and the outbox; read-only.

address    pure              Where to listen.
asked      pure              One request, from its bytes.
response   pure              What is answered.
pages      shell             Which page is meant.
files      edge: outbox      A file of the outbox, whatever somebody has put there.
exchange   edge: sockets     One connection: a head in, a response out, both in time.
server     edge: sockets     Listens; as many connections as it can bear, each in a thread.
"""
