"""SST-2: rows are phrases of sentences, and no part has a phrase of another part's sentence."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from w2s_ray.data import load_split
from w2s_ray.data.example import Example, Rows
from w2s_ray.data.phrases import group_phrases

SIZES = {"train": 120, "validation": 20, "test": 40}


def rows_of(*texts: str, test: tuple[str, ...] | None = None) -> Rows:
    def examples(part: str, texts: tuple[str, ...]) -> tuple[Example, ...]:
        return tuple(Example(f"{part}:{i}", text, 0, text) for i, text in enumerate(texts))

    return Rows(examples("train", texts), None if test is None else examples("test", test))


def groups(rows: Rows) -> dict[str, str]:
    return {row.text: row.group for row in (*rows.pool, *(rows.test or ()))}


def test_a_phrase_is_in_the_group_of_its_sentence() -> None:
    found = group_phrases(rows_of("b c", "a b c d", "c ", "x y", "y", "ab"))
    assert groups(found) == {
        **dict.fromkeys(("b c", "a b c d", "c "), "a b c d"),
        **dict.fromkeys(("x y", "y"), "x y"),
        "ab": "ab",  # whole words, not letters
    }
    assert found.dropped == {"in_several_sentences": 0}


def test_a_phrase_of_several_sentences_is_dropped_and_joins_nothing() -> None:
    found = group_phrases(rows_of("a b c", "c d", "c", "b", "b c", "d e c"))
    assert groups(found) == {
        **dict.fromkeys(("a b c", "b", "b c"), "a b c"),
        "c d": "c d",
        "d e c": "d e c",
    }
    assert found.dropped == {"in_several_sentences": 1}


def test_sentences_of_the_test_split_count_too() -> None:
    found = group_phrases(rows_of("a b", "c d", "d", "a", test=("d e", "x a b y")))
    assert groups(found) == {
        **dict.fromkeys(("a b", "a", "x a b y"), "x a b y"),
        "c d": "c d",
        "d e": "d e",
    }


def sst2(folder: Path, *, sentences: int = 300) -> str:
    """Files as SST-2's: nested and disjoint phrases of sentences, in random order."""
    generator = random.Random(0)
    rows: set[tuple[str, int]] = set()
    for number in range(sentences):
        words = [f"w{generator.randrange(2000)}" for _ in range(generator.randint(6, 14))]
        middle = generator.randint(2, len(words) - 2)
        label = number % 2
        for part in (words, words[:middle], words[middle:], words[:2], words[-1:]):
            rows.add((" ".join(part) + " ", label))
    ordered = sorted(rows)
    generator.shuffle(ordered)
    written = "".join(f"{text}\t{label}\n" for text, label in ordered)
    (folder / "train.tsv").write_text(f"sentence\tlabel\n{written}")
    dev = "".join(f"v{i} v{i + 1} v{i + 2} w{i}\t{i % 2}\n" for i in range(60))
    (folder / "dev.tsv").write_text(f"sentence\tlabel\n{dev}")
    return str(folder)


def contained(text: str, other: str) -> bool:
    return f" {text.strip()} " in f" {other.strip()} "


@pytest.mark.parametrize("own_test", [True, False])
def test_no_part_of_sst2_has_a_phrase_of_another_part(tmp_path: Path, task, own_test: bool) -> None:
    folder = sst2(tmp_path)
    if not own_test:
        (tmp_path / "dev.tsv").unlink()
    split = load_split(task(name="sst2", path=folder, **SIZES))
    assert split.own_test is own_test
    assert split.dropped["in_several_sentences"] > 0
    for one, other in itertools.permutations(split.parts.values(), 2):
        assert not [(a.text, b.text) for a in one for b in other if contained(a.text, b.text)]
