"""What `w2s compact` prints. It decides nothing."""

from __future__ import annotations

from w2s_ray.plain_console import PlainConsole
from w2s_ray.store import Store


def show_compaction(store: Store, *, console: PlainConsole) -> None:
    """Compact a store and say what was done."""
    done = store.compact()
    left = f"; {done.left} at work or just ended are read from their own files" if done.left else ""
    console.print(
        f"{store.uri}: {_count(done.added, 'run')} added, {done.runs} in the catalog "
        f"({_count(done.segments, 'segment')}, {done.bytes / 1e6:.1f} MB){left}",
        soft_wrap=True,
    )


def _count(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"
