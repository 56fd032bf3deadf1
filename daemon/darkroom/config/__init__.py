"""The configuration.

load     edge: configuration   Command line over environment over file over defaults.
layers   pure                  Which one wins, and where a value came from.
"""
