"""The configuration.

load     edge: configuration   Command line over environment over file over defaults.
book     edge: configuration   The style book, read from its files.
reading  edge: configuration   The bytes of a file that somebody has named.
models   edge: environment     A model's table.
layers   pure                  Which one wins, and where a value came from.
"""
