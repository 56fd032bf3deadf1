"""What was decided for a picture, in plain words or as a few lines of diffusers that make it again. Text in, text out.

The lines are written by tables of their own, which know nothing of the renderer's: whoever runs them checks Darkroom.

made         pure   What a picture was made by: read from an answer, or from the picture itself.
files        pure   A model's files, as far as loading them has to be written down.
calls        pure   How each pipeline class of diffusers is called, as its own documentation has it.
texts        pure   The lines that encode a text that is long, weighed, or read by another layer.
pictures     pure   The lines that read pictures.
enlarging    pure   The lines that make a picture larger.
masked       pure   The lines that paint a part of a picture where a pipeline reads no masks.
solvers      pure   The schedulers, each with every argument that makes it what it is called.
loading      pure   The lines that read a model.
loras        pure   The lines that load its LoRAs.
script       pure   The lines.
words        pure   The words.
"""
