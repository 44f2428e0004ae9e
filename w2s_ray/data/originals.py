"""Readers of the named tasks' original files: raw rows with the columns of the hub's data sets.

Owns the layouts in which authors publish their data: tables without a header, labels in a separate
file or in a folder's name, questions nested in passages, documents, XML. `formatters` makes
examples of the rows. It reads nothing from the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from xml.etree import ElementTree

from w2s_ray.data.example import Row
from w2s_ray.data.files import Member
from w2s_ray.data.table import json_values, raw_rows
from w2s_ray.errors import InputError

PASSAGE_WORDS = 200
"""Words after which a passage ends at the end of a paragraph."""

Reader = Callable[[Member, Sequence[Member]], Iterator[Row]]
"""A file, and all files of its folder or archive -> the file's raw rows."""


def table(
    columns: tuple[str, ...] | None = None,
    *,
    renamed: Mapping[str, str] | None = None,
    quoted: bool = True,
    encoding: str = "utf-8-sig",
) -> Reader:
    """A reader of a table or of JSON objects; `columns` are for a table without a header line.

    `renamed` maps columns to their names on the hub. Without `quoted`, quotation marks in a table
    have no special meaning.
    """
    hub_names = renamed or {}

    def read(member: Member, _: Sequence[Member]) -> Iterator[Row]:
        rows = raw_rows(member, columns=columns, quoted=quoted, encoding=encoding)
        for row in rows:
            yield {hub_names.get(column, column): value for column, value in row.items()}

    return read


plain: Reader = table()
"""Reads a table with a header line, JSON objects or Parquet, with the hub's columns."""


def labels_beside(member: Member, found: Sequence[Member]) -> Iterator[Row]:
    """JSON objects of `train.jsonl` with the labels of `train-labels.lst`, line by line.

    A file whose objects have a label is read without the labels file.

    Raises:
        InputError: a missing labels file, or a different number of labels.
    """
    rows = list(raw_rows(member))
    if rows and "label" in rows[0]:
        yield from rows
        return
    name = f"{member.stem}-labels.lst"
    labels_file = next((other for other in found if other.name in (name, f"{name}.gz")), None)
    if labels_file is None:
        raise InputError(
            f"{member}: the rows have no label, and its folder has no {name}; give a folder with "
            "both as `path`"
        )
    with labels_file.text() as lines:
        labels = lines.read().split()
    if len(labels) != len(rows):
        raise InputError(
            f"{labels_file}: {len(labels):,} labels for {len(rows):,} rows of {member.name}; "
            "download both files again"
        )
    yield from ({**row, "label": label} for row, label in zip(rows, labels, strict=True))


def lines_beside(member: Member, found: Sequence[Member]) -> Iterator[Row]:
    """Texts of `train_text.txt`, one a line, with the labels of `train_labels.txt`.

    Raises:
        InputError: a missing labels file, or a different number of labels.
    """
    name = f"{member.stem.removesuffix('_text')}_labels"
    labels_file = next((other for other in found if other.stem == name), None)
    if labels_file is None:
        raise InputError(
            f"{member}: its folder has no {name}.txt with the labels; give a folder with both as "
            "`path`"
        )
    texts, labels = (_lines(each) for each in (member, labels_file))
    if len(labels) != len(texts):
        raise InputError(
            f"{labels_file}: {len(labels):,} labels for {len(texts):,} lines of {member.name}; "
            "download both files again"
        )
    yield from ({"text": t, "label": label} for t, label in zip(texts, labels, strict=True))


def _lines(member: Member) -> list[str]:
    """The lines of a text file, without an empty one at its end."""
    with member.text() as file:
        return file.read().removesuffix("\n").split("\n")


def titled_news(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """AG News: class from 1, title and description, without a header line in a CSV file."""
    columns = ("class", "title", "description") if member.kind == ".csv" else None
    for row in raw_rows(member, columns=columns):
        if "text" in row:
            yield row  # already in the hub's columns
            continue
        text = f"{row['title']} {row['description']}"
        yield {"text": text, "label": int(row["class"]) - 1}


def lines_of(classes: Mapping[str, int]) -> Reader:
    """A reader of texts, one a line, latin-1. The class follows from the file's name."""

    def read(member: Member, _: Sequence[Member]) -> Iterator[Row]:
        label = _named_class(member, classes)
        with member.text(encoding="latin-1") as lines:
            yield from ({"text": line, "label": label} for line in lines)

    return read


def documents_of(classes: Mapping[str, int]) -> Reader:
    """A reader of texts, one a file, latin-1. The class follows from the name or folder."""

    def read(member: Member, _: Sequence[Member]) -> Iterator[Row]:
        with member.text(encoding="latin-1") as file:
            yield {"text": file.read(), "label": _named_class(member, classes)}

    return read


def either(first: Reader, *, kinds: tuple[str, ...], other: Reader) -> Reader:
    """A reader that is `first` for files of these extensions, else `other`."""

    def read(member: Member, found: Sequence[Member]) -> Iterator[Row]:
        return (first if member.kind in kinds else other)(member, found)

    return read


def dream_dialogues(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """DREAM: a list of [turns, questions, dialogue id]."""
    for value in json_values(member):
        if isinstance(value, dict):
            yield value  # already in the hub's columns
            continue
        turns, questions, name = value
        for question in questions:
            yield {**question, "dialogue": turns, "dialogue_id": name}


def multirc_passages(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """MultiRC as SuperGLUE publishes it: questions within passages, answers within questions."""
    for row in raw_rows(member):
        if "passage" not in row:
            yield row  # already in the hub's columns
            continue
        passage = row["passage"]
        for question in passage["questions"]:
            for answer in question["answers"]:
                yield {
                    "paragraph": passage["text"],
                    "question": question["question"],
                    "answer": answer["text"],
                    "label": answer.get("label", -1),
                }


def quartz_questions(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """QuaRTz: the question holds its stem and its choices."""
    for row in raw_rows(member):
        if isinstance(row["question"], str):
            yield row  # already in the hub's columns
            continue
        choices = row["question"]["choices"]
        both = {key: [choice[key] for choice in choices] for key in ("label", "text")}
        yield {**row, "question": row["question"]["stem"], "choices": both}


def quail_texts(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """QuAIL: texts with questions, the right answer marked `correct="True"`.

    Raises:
        InputError: content that isn't XML.
    """
    try:
        with member.open() as file:
            root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"{member}: not XML ({error}); download the file again") from None
    for text in root.iterfind("text"):
        context = _content(text.find("text_body"))
        for question in text.iterfind("questions/q"):
            answers = list(question.iterfind("a"))
            right = [i for i, answer in enumerate(answers) if answer.get("correct") == "True"]
            yield {
                "context": context,
                "question": _content(question),
                "answers": [_content(answer) for answer in answers],
                "correct_answer_id": right[0] if len(right) == 1 else -1,
            }


def ukp_arguments(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """UKPConvArg1: JSON objects, or tables without quoting, named after the debate."""
    if member.kind == ".csv":
        rows = raw_rows(member, quoted=False, separator="\t")
        keys, debate = ("label", "a1", "a2"), member.stem.rpartition("/")[2].rpartition("_")[0]
    else:
        rows, keys, debate = raw_rows(member), ("gold", "arg1", "arg2"), None
    for row in rows:
        preferred, first, second = (row[key] for key in keys)
        texts = {"a1": (first, second), "a2": (second, first)}.get(preferred or "")
        if texts is not None:
            yield {"better": texts[0], "worse": texts[1], "debate": debate or row["title"]}


PUZZLES = (
    "PuzzleId",
    "FEN",
    "Moves",
    "Rating",
    "RatingDeviation",
    "Popularity",
    "NbPlays",
    "Themes",
    "GameUrl",
    "OpeningTags",
)
"""Columns of the Lichess puzzle database."""
FEWER_PUZZLE_COLUMNS = ("PuzzleId", "FEN", "Moves", "Rating", "Popularity", "Themes", "Level")
"""Columns of a public extract of this database, which has no header line."""


def puzzles(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """Chess puzzles in the CSV format of the Lichess database, with or without a header line."""
    if member.kind != ".csv":
        yield from raw_rows(member)
        return
    with member.text() as file:
        first = file.readline().rstrip("\r\n").split(",")
    if first[0] == PUZZLES[0]:
        yield from raw_rows(member)
        return
    columns = FEWER_PUZZLE_COLUMNS if len(first) == len(FEWER_PUZZLE_COLUMNS) else PUZZLES
    yield from raw_rows(member, columns=columns)


def passages(member: Member, _: Sequence[Member]) -> Iterator[Row]:
    """A text file as passages of whole paragraphs with at least `PASSAGE_WORDS` words."""
    if member.kind not in (".txt", ".md", ""):
        return
    with member.text() as file:
        paragraphs = file.read().replace("\r\n", "\n").split("\n\n")
    gathered: list[str] = []
    words = 0
    for paragraph in (*paragraphs, None):
        if gathered and (paragraph is None or words >= PASSAGE_WORDS):
            yield {"text": "\n\n".join(gathered), "document": member.name}
            gathered, words = [], 0
        if paragraph is not None and paragraph.strip():
            gathered.append(paragraph.strip())
            words += len(paragraph.split())


def _content(element: ElementTree.Element | None) -> str:
    return "" if element is None or element.text is None else element.text.strip()


def _named_class(member: Member, classes: Mapping[str, int]) -> int:
    name = member.name.lower().removesuffix(".gz")
    for pattern, label in classes.items():
        if fnmatchcase(name, pattern):
            return label
    known = ", ".join(classes)
    raise InputError(
        f"{member}: the class doesn't follow from its name, which fits none of {known}; rename it"
    )
