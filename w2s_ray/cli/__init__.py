"""The `w2s` command: what the terminal takes and shows. Every room is called from here, none is."""

from w2s_ray.cli.commands import app

__all__ = ["app"]
