"""What a model is and can do, known without torch: read by service, renderer and command.

card         pure            What planning must know of a model: its family, and what was chosen for it.
source       pure            Where a model comes from, a LoRA, an embedding.
schedulers   pure            Every scheduler that a request may name, and what makes it what it is called.
family       pure            What a family can be asked for, and how it takes it.
families     pure            The families that are described, one row each.
files        edge: models    What of a model's files is there, and what an unusable one is told as.
header       edge: models    What a file of weights says of its tensors, and whether it is whole.
layouts      pure            The parts that lie in a file of weights: how their tensors tell their configurations.
contents     pure            What a file of weights is, by the names of its tensors.
one_file     edge: models    A model that comes as one file, and parts that come from elsewhere.
weights      edge: models    The weights: which variant is meant, whether they are whole.
depth        pure            Whether the weights of a text encoder have all the layers that they should.
layers       pure            The layers of weights by their names, and whether those of a LoRA are a model's.
loras        edge: models    What the file of a LoRA says of it, and which models it fits.
lora_names   pure            How trainers call the layers of transformers.
embeddings   edge: models    What the file of an embedding holds, and which models it fits.
hub_cache    edge: models    The hub's cache on a disk.
checkpoint   edge: models    The single file that a folder was made from, and its hash where others have told it.
fit          pure            Where a model's parts lie, and which models stay when another one comes.
size         edge: models    How large a model is, on disk and in memory.
judge        edge: models    Can it be rendered, never, or are parts of it missing? By its own files.
thread       edge: models    Looks at the files now and then; they may lie on a share that hangs.
"""
