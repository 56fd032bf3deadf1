"""What holds for all tests."""

from hypothesis import settings

# How long an example takes tells how busy the machine is, and nothing about the code.
settings.register_profile("darkroom", deadline=None)
settings.load_profile("darkroom")
