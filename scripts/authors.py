"""Passages of six novels with their authors, as a CSV: a real task of several classes.

    python scripts/authors.py [FOLDER]        # data/ by default; writes FOLDER/authors.csv

Owns the choice of books and passages. It reads books.tar.xz in FOLDER/text_classics, books in the
public domain from https://github.com/mlschmitt/classic-books-markdown. A CSV that is already there
is kept.
"""

from __future__ import annotations

import csv
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

BOOKS = (
    "Charles Dickens/The Old Curiosity Shop.md",
    "Elizabeth Gaskell/Wives and Daughters.md",
    "Anthony Trollope/Doctor Thorne.md",
    "Charlotte Bronte/Villette.md",
    "Thomas Hardy/Tess of the d'Urbervilles.md",
    "Joseph Conrad/Lord Jim.md",
)
"""English novels of 1841 to 1900, each by another author."""
PASSAGES = 600
"""Passages of each book, evenly spread over it."""
WORDS = 24
"""Words of a passage."""


def passages(text: str) -> Iterator[str]:
    """The passages of a book: its paragraphs in pieces of WORDS words, without what remains."""
    for paragraph in text.splitlines():
        if paragraph.startswith(("#", "-", ">")):
            continue
        words = paragraph.split()
        for start in range(0, len(words) - WORDS + 1, WORDS):
            yield " ".join(words[start : start + WORDS])


def rows(archive: Path) -> Iterator[tuple[str, str]]:
    """(passage, author) of all books."""
    with tarfile.open(archive) as books:
        for name in BOOKS:
            member = books.extractfile(name)
            assert member is not None, f"{archive} has no file {name}"
            found = list(passages(member.read().decode()))
            assert len(found) >= PASSAGES, f"{name} has {len(found)} passages"
            for i in range(PASSAGES):
                yield found[i * len(found) // PASSAGES], name.split("/", 1)[0]


def main(folder: Path) -> None:
    """Write FOLDER/authors.csv."""
    target = folder / "authors.csv"
    if target.exists():
        return
    archive = folder / "text_classics" / "books.tar.xz"
    if not archive.exists():
        sys.exit(f"{archive} is missing; see sweeps/field.yaml for where the data is from")
    part = target.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "author"))
        writer.writerows(rows(archive))
    part.replace(target)
    print(f"{target}: {PASSAGES * len(BOOKS)} passages of {len(BOOKS)} authors")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
