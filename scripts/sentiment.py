"""Negative, neutral and positive sentences on films, as a CSV: a real task of three classes.

    python scripts/sentiment.py [FOLDER]        # data/ by default; writes FOLDER/sentiment.csv

Owns the choice of sentences. Negative and positive ones are of reviews (Pang and Lee 2005), neutral
ones of summaries of plots, which the same authors collected as objective (2004). Both corpora are
in FOLDER/nltk_sentiment, from https://github.com/nltk/nltk_data. A CSV that is there is kept.
"""

from __future__ import annotations

import csv
import sys
import zipfile
from pathlib import Path

CLASSES = {
    "negative": ("sentence_polarity.zip", "sentence_polarity/rt-polarity.neg"),
    "neutral": ("subjectivity.zip", "subjectivity/plot.tok.gt9.5000"),
    "positive": ("sentence_polarity.zip", "sentence_polarity/rt-polarity.pos"),
}
"""Class -> the archive that has its sentences, and the file in it, one sentence on each line."""
SENTENCES = 1200
"""Sentences of each class, evenly spread over its file."""


def main(folder: Path) -> None:
    """Write FOLDER/sentiment.csv."""
    target, corpora = folder / "sentiment.csv", folder / "nltk_sentiment"
    if target.exists():
        return
    part = target.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "sentiment"))
        for name, (archive, member) in CLASSES.items():
            if not (corpora / archive).exists():
                sys.exit(f"{corpora / archive} is missing; see sweeps/field.yaml for its source")
            with zipfile.ZipFile(corpora / archive) as files:
                lines = files.read(member).decode("latin-1").splitlines()
            for i in range(SENTENCES):
                writer.writerow((lines[i * len(lines) // SENTENCES].strip(), name))
    part.replace(target)
    print(f"{target}: {SENTENCES * len(CLASSES)} sentences of {len(CLASSES)} classes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
