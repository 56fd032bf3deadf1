"""What people drop: listed, judged, taken. One thread touches the share, the one that may hang on it.

drops         pure          What the inbox and the service hand to each other.
completeness  pure          Is a file complete? Its bytes and its stillness decide.
listing       edge: inbox   The folders as they were last listed.
arrivals      edge: inbox   List, look closer, decide, take.
inputs        edge: inbox   The files that requests name: where each lies, whether it is whole, how it leaves.
judge         edge          Whether a file is a whole picture: asked of a process that may die of it.
decoder       edge          That process.
taking        edge: inbox   How a file leaves the inbox, and comes back; what is owed until the folder lets us.
watch         edge: inbox   File events: hints.
owner         edge: inbox   One daemon per inbox.
thread        shell         What the service asks for, left as work; what was found, told.
"""
