"""The renderer: a process of its own, imported by nobody. torch lives here alone.

worker        shell          Reads messages, renders one attempt at a time, tells what happens.
agenda        shell          What it has been asked to do and has not begun.
alive         edge: process  Signs of life, as long as it really gets on.
engine        pure           What the worker asks of whatever paints.
device        edge: device   Which device; how a model gets there.
pipelines     edge: device   Pipelines of diffusers, read from a folder or made of parts.
parts         edge: device   Parts of a model, read from its folder: whole, or not at all.
one_file      edge: device   Parts that are read from single files, and CLIP's tokenizer.
tensors       edge: device   The tensors of a single file, called as diffusers and transformers call them.
quantised     edge: device   GGUF: weights that stay in blocks of few bits.
quantizing    edge: device   Weights in fewer bits.
placing       edge: device   Where the parts of a pipeline lie.
residents     edge: device   The models that are on the device, and which of them leave.
memory        edge: process  How much of the machine's own memory nobody uses.
relief        edge: device   What is done when memory runs out.
prediction    edge: device   What a model predicts, where only one step of it tells.
file_hash     edge: models   The hash of a single file, by which other programs know it.
adapter       edge: device   One adapter for the models of every family.
siblings      edge: device   The pipelines of a model that also take pictures, of the same parts.
controls      edge: device   ControlNets, kept while plans name them.
upscalers     edge: device   Networks that enlarge a picture.
enlarging     edge: pictures A picture that comes in, made larger without a model.
known         edge: device   What of a picture is not painted anew, put back after each step.
call          edge: device   How a plan is put to a pipeline.
pictures      edge: pictures Pictures that come in, made sRGB of the size that is painted.
passes        pure           Two passes of one picture, and the count of their steps.
canny         pure           The edges of a picture.
blocks        edge: device   Texts of any length and weight, in blocks.
reader        edge: device   How many tokens a text has, and which words are not read.
encoded       edge: device   Texts that are encoded already.
embeddings    edge: device   Words that text encoders are taught when a model is loaded.
loras         edge: device   LoRAs, put into a pipeline and taken out again.
lora_spelling edge: device   LoRAs whose layers are called otherwise than diffusers reads them.
precision     edge: device   What half precision cannot hold, again in float32.
torch_errors  edge: device   What torch and diffusers raise, in our words.
scheduling    edge: device   Schedulers as diffusers makes them, tried before a picture depends on them.
model_files   edge: models   A model's files that are not there yet.
fetching      edge: models   A model of the hub on its way here, and whether it came whole.
resuming      edge: models   Downloads that were cut short go on where they ended.
pull          shell          Downloads one model of the hub, in a process of its own.
token_limit   pure           Which words of a text a model does not read.
testcard      edge: device   Paints without any model.
encode        edge: pictures Pictures become files that say how they came to be.
parameters    pure           What made a picture, as text that other tools read.
exif          pure           EXIF as every reader reads it.
marks         pure           The mark of a picture that a machine has made.
finish        shell          Encodes and makes durable while the device goes on.
"""
