"""What a model is and can do, known without torch: read by service, renderer and command.

card         pure            What planning must know of a model.
source       pure            Where a model comes from.
schedulers   pure            Every scheduler that a request may name, and what makes it what it is called.
judge        edge: models    Can it be rendered, never, or are parts of it missing? By its own files.
thread       edge: models    Looks at the files now and then; they may lie on a share that hangs.
"""
