"""The `w2s` command: what the terminal takes and shows. Thin; every room is called, none is here."""

from w2s_ray.cli.commands import app

__all__ = ["app"]
