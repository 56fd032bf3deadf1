"""Darkroom renders Stable Diffusion requests that people drop into a shared folder."""

__version__ = "0.2.0.dev0"
