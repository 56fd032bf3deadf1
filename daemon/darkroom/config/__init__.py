"""The configuration.

load            edge: configuration   Command line over environment over file over defaults.
environment     edge: environment     Keys that variables set.
settings        edge: configuration   Every key: what it may be.
contradictions  edge: configuration   What is wrong between keys that are each right.
book            edge: configuration   The style book, read from its files.
reading         edge: configuration   The bytes of a file that somebody has named.
models          edge: environment     A model's table.
relative        edge: environment     The paths that mean another place from each working directory.
layers          pure                  Which one wins, and where a value came from.
"""
