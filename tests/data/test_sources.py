from __future__ import annotations

import gzip
import json
import sys
import types
import zipfile

import pytest

from tests.data.layouts import HUB, ORIGINAL
from w2s_ray.config import FORMS
from w2s_ray.data import TASKS, Rows, make_split
from w2s_ray.data.row_formats import Comparison, group_answers, group_variants, merge_linked_groups
from w2s_ray.data.sources import SourceUnavailable, read_rows, sampled


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


SCIQ = {
    "question": "Q?",
    "correct_answer": "a",
    "distractor1": "b",
    "distractor2": "c",
    "distractor3": "d",
    "support": "",
}
BOOLQ = {"question": "is it", "passage": "It is.", "answer": True, "title": "It"}
HH = {"chosen": "\n\nHuman: Hi\n\nAssistant: A", "rejected": "\n\nHuman: Hi\n\nAssistant: B"}
CREAK = {"ex_id": "train_0", "sentence": "S.", "label": "true", "entity": "E"}
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\nx,C,Q,a,b,c,d,1\n"
OPENBOOK = "ID\tQuestion Stem\tChoices\tComplete Question\tAnswer Key\n1\tQ\t(A) a (B) b\t-\tB\n"
ETHICS = "label,scenario\n1,I run.\n"

ORIGINALS = [
    (
        "sciq",
        {
            "train.json": json.dumps([SCIQ]),
            "valid.json": json.dumps([SCIQ]),
            "test.json": json.dumps([SCIQ]),
        },
        ["train:0:right", "train:0:wrong", "validation:0:right", "validation:0:wrong"],
        ["test:0:right", "test:0:wrong"],
    ),
    (
        "boolq",
        {
            "train.jsonl": lines(BOOLQ, BOOLQ),
            "dev.jsonl": lines(BOOLQ),
            "test.jsonl": lines({"question": "no answer", "passage": "P"}),
        },
        ["train:0", "train:1"],
        ["test:0"],
    ),
    (
        "cosmos_qa",
        {"train.csv": COSMOS, "valid.csv.gz": COSMOS},
        ["train:0:right", "train:0:wrong"],
        ["test:0:right", "test:0:wrong"],
    ),
    (
        "amazon_polarity",
        {"train.csv": '"1","T","C"\n"2","U","D"\n', "test.csv": '"2","V","E"\n'},
        ["train:0", "train:1"],
        ["test:0"],
    ),
    (
        "anthropic_hh",
        {"train.jsonl.gz": lines(HH), "test.jsonl.gz": lines(HH)},
        ["train:0:chosen", "train:0:rejected"],
        ["test:0:chosen", "test:0:rejected"],
    ),
    (
        "anthropic_hh",
        {
            "helpful-base/train.jsonl.gz": lines(HH),
            "online/train.jsonl.gz": lines(HH),
            "helpful-base/test.jsonl.gz": lines(HH),
        },
        ["train:0:chosen", "train:0:rejected", "train:1:chosen", "train:1:rejected"],
        ["test:0:chosen", "test:0:rejected"],
    ),
    (
        "ethics_justice",
        {
            "justice_train.csv.gz": ETHICS,
            "justice_test.csv": ETHICS,
            "justice_test_hard.csv": ETHICS,
        },
        ["train:0"],
        ["test:0"],
    ),
    ("ethics_justice", {"train.csv": ETHICS, "test.csv": ETHICS}, ["train:0"], ["test:0"]),
    (
        "ethics_deontology",
        {"deontology_train.csv": "label,scenario,excuse\n1,Do?,No\n"},
        ["train:0"],
        None,
    ),
    (
        "ethics_virtue",
        {"virtue_train.csv": "label,scenario\n1,Jo ran. [SEP] quick\n"},
        ["train:0"],
        None,
    ),
    (
        "creak",
        {
            "train.json.gz": lines(CREAK),
            "dev.json": lines(CREAK),
            "contrast_set.json": lines(CREAK),
        },
        ["train:0"],
        ["test:0"],
    ),
    (
        "openbookqa",
        {"train.tsv": OPENBOOK, "dev.tsv": OPENBOOK, "test.tsv": OPENBOOK},
        ["train:0:right", "train:0:wrong", "validation:0:right", "validation:0:wrong"],
        ["test:0:right", "test:0:wrong"],
    ),
    (
        "sentence_polarity",
        {"rt-polarity.neg": b"b\xe9d .\n", "rt-polarity.pos": "good .\n", "README.txt": "-"},
        ["train:0", "train:1"],
        None,
    ),
]


@pytest.mark.parametrize(("name", "files", "pool", "test"), ORIGINALS)
@pytest.mark.parametrize("packed", [False, True])
def test_original_files(tmp_path, task, name, files, pool, test, packed):
    folder = tmp_path / "data"
    for file, content in files.items():
        put(folder / file, content)
    if packed:
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for file in files:
                archive.write(folder / file, f"some folder/{file}")
        folder = tmp_path / "data.zip"
    rows = read_rows(task(name=name, path=str(folder)))
    assert [row.id for row in rows.pool] == pool
    assert (rows.test and [row.id for row in rows.test]) == test


def by_text(examples):
    return sorted((e.text, e.second or "", e.label, e.answer or "", e.group) for e in examples)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", sorted(TASKS))
def test_original_files_give_what_the_hub_gives(tmp_path, task, name, packed):
    """One formatter reads the hub's columns; original layouts are brought into them."""
    families = ["dog", "cat's", "fox, too"]
    made = [[r for i in range(12) for r in HUB[name](i + 20 * k, families[i % 3])] for k in (0, 1)]
    folder = tmp_path / "data"
    files = ORIGINAL[name](*made)
    for file, content in files.items():
        put(folder / file, content)
    if packed:
        with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
            for file in files:
                archive.write(folder / file, f"some folder/{file}")
        folder = tmp_path / "data.zip"
    named = TASKS[name]
    hub_rows = [group_answers(rows, by=named.question) if named.question else rows for rows in made]
    expected = [
        tuple(e for i, row in enumerate(rows) for e in named.format(row, id=str(i)))
        for rows in hub_rows
    ]
    held_out = expected[1] if named.files.test else None
    wanted = Rows(expected[0], held_out)
    if named.has_variants:
        wanted = Rows(tuple(group_variants(wanted.pool)), tuple(group_variants(wanted.test)))
    if named.has_shared_texts:
        wanted = merge_linked_groups(wanted)
    rows = read_rows(task(name=name, path=str(folder)))
    assert len(rows.pool) >= 8
    assert {row.label for row in rows.pool} == (
        {0, 1} if FORMS[named.form].has_two_classes else {0}
    )
    assert by_text(rows.pool) == by_text(wanted.pool)
    assert (rows.test and by_text(rows.test)) == (wanted.test and by_text(wanted.test))


def test_sentence_polarity_is_latin_1_and_labelled_by_file(tmp_path, task):
    put(tmp_path / "rt-polarity.neg", b"b\xe9d .\n")
    put(tmp_path / "rt-polarity.pos", "good .\n")
    rows = read_rows(task(name="sentence_polarity", path=str(tmp_path)))
    assert [(row.text, row.label) for row in rows.pool] == [("béd .", 0), ("good .", 1)]


def test_a_single_file_is_one_pool(tmp_path, task):
    put(tmp_path / "justice_test.csv", ETHICS)
    rows = read_rows(task(name="ethics_justice", path=str(tmp_path / "justice_test.csv")))
    assert [row.id for row in rows.pool] == ["all:0"]
    assert rows.test is None


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ({"name": "sciqq"}, r"unknown task 'sciqq'; did you mean 'sciq'\? known: sciq, boolq"),
        ({"name": "mine", "path": "."}, "unknown task 'mine'; known: .*`path` and `columns`"),
        ({"name": "sciq", "path": "nowhere/at/all"}, "task sciq: no such file or folder: nowhere"),
        (
            {"name": "ethics_justice", "path": "{tmp}"},
            r"no train or justice_train file \(.*valid.csv\); give the folder .* or one archive",
        ),
        (
            {"name": "cosmos_qa", "path": "{tmp}/valid.csv"},
            r"all row 1 isn't in the task's format \(KeyError: 'answer0'; it has a, b\)",
        ),
        (
            {"name": "mc_taco", "path": "{tmp}/valid.csv"},
            r"valid.csv: row 1 has 2 fields instead of 5 \(sentence, question",
        ),
        (
            {"name": "multirc", "path": "{tmp}/valid.csv"},
            r"row 1 has no column 'paragraph' \(it has a, b\); name the original files",
        ),
        (
            {"name": "piqa", "path": "{tmp}/valid.csv"},
            "the rows have no label, and its folder has no valid-labels.lst",
        ),
        ({"name": "quail", "path": "{tmp}/broken.xml"}, r"broken.xml: not XML \(no element found"),
        (
            {"name": "cola", "path": "{tmp}/broken.zip"},
            r"broken.zip: damaged, .* \(File is not a zip file\); download",
        ),
        (
            {"name": "movie_reviews"},
            "movie_reviews can't be read from the Hugging Face hub; ",
        ),
        (
            {"name": "movie_reviews", "path": "{tmp}/valid.csv"},
            r"doesn't follow from its name, which fits none of neg/\*, pos/\*; rename it",
        ),
        (
            {"name": "mine", "path": "{tmp}", "columns": {"text": "a", "label": "b"}},
            r"has files of several kinds \(.*; give those of one kind by a pattern",
        ),
    ],
)
def test_an_invalid_task_gives_a_remedy(tmp_path, task, declaration, message):
    put(tmp_path / "valid.csv", "a,b\n1,2\n")
    put(tmp_path / "broken.xml", "<data>")
    put(tmp_path / "broken.zip", "PK")
    if "path" in declaration:
        declaration = {**declaration, "path": declaration["path"].format(tmp=tmp_path)}
    with pytest.raises(ValueError, match=message):
        read_rows(task(**declaration))


def test_a_folder_of_archives_names_the_one_to_give(tmp_path, task):
    for name in ("movie_reviews", "sentence_polarity"):
        put(tmp_path / f"{name}.zip", b"")
    with pytest.raises(ValueError, match=r"rt-polarit\* file .*`path`: .*/sentence_polarity.zip$"):
        read_rows(task(name="sentence_polarity", path=str(tmp_path)))


def test_a_labels_file_must_have_one_label_per_row(tmp_path, task):
    put(tmp_path / "train.jsonl", lines({"goal": "g", "sol1": "a", "sol2": "b"}))
    put(tmp_path / "train-labels.lst", "0\n1\n")
    with pytest.raises(ValueError, match="2 labels for 1 rows of train"):
        read_rows(task(name="piqa", path=str(tmp_path)))


def test_two_files_for_one_split_are_refused(tmp_path, task):
    put(tmp_path / "train.csv", ETHICS)
    put(tmp_path / "train.csv.gz", ETHICS)
    with pytest.raises(ValueError, match=r"than one file for 'train': train.csv, train.csv.gz"):
        read_rows(task(name="ethics_justice", path=str(tmp_path)))


def test_the_embedded_task_makes_enough_rows(task, monkeypatch):
    options = {}

    def task_rows(*, rows, seed):
        options.update(rows=rows, seed=seed)
        return [(f"{seed} {i}", i % 2) for i in range(rows)]

    module = types.ModuleType("w2s_ray.data.embedded")
    module.task_rows = task_rows
    monkeypatch.setitem(sys.modules, "w2s_ray.data.embedded", module)
    declared = task(name="embedded", train=100, validation=10, test=20, split_seed=7)
    split = make_split(read_rows(declared), task=declared)
    assert sum(split.counts.values()) == 130
    assert options["seed"] == 7
    assert options["rows"] >= 130


def hub_sets(monkeypatch, sets):
    datasets = pytest.importorskip("datasets")
    calls = []

    def load_dataset(*args, **named):
        calls.append((args, named))
        if isinstance(sets, Exception):
            raise sets
        return sets

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_a_hub_dataset_is_read_at_its_commit(task, monkeypatch):
    calls = hub_sets(monkeypatch, {"train": [SCIQ], "validation": [SCIQ], "test": [SCIQ]})
    rows = read_rows(task(name="sciq"), commit="c" * 40)
    assert [row.id for row in rows.pool] == [
        "train:0:right",
        "train:0:wrong",
        "validation:0:right",
        "validation:0:wrong",
    ]
    assert [row.id for row in rows.test] == ["test:0:right", "test:0:wrong"]
    assert calls == [(("allenai/sciq", None), {"revision": "c" * 40})]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_table_of_tasks_is_whole(name):
    named = TASKS[name]
    pairs = isinstance(named.format, Comparison) or len(getattr(named.format, "group", ())) == 2
    assert named.has_shared_texts == (pairs or named.form == "answers")
    hub = named.hub
    if hub is None:
        return
    wanted = {*hub.pool, *([hub.test] if hub.test else [])}
    assert hub.test not in hub.pool
    assert hub.files is None or set(hub.files) == wanted
    assert len({file.rpartition(".")[2] for file in (hub.files or {"": ".csv"}).values()}) == 1
    assert hub.name.count("/") == 1


def test_the_papers_tasks_are_all_there():
    paper = [
        "boolq",
        "cosmos_qa",
        "dream",
        "ethics_justice",
        "ethics_deontology",
        "ethics_virtue",
        "ethics_utilitarianism",
        "anli_r2",
        "cola",
        "sst2",
        "hellaswag",
        "mc_taco",
        "openbookqa",
        "paws",
        "quail",
        "piqa",
        "quartz",
        "sciq",
        "social_i_qa",
        "multirc",
        "wic",
        "twitter_sentiment",
    ]
    assert len(paper) == 22
    assert {*paper, "amazon_polarity", "anthropic_hh", "creak"} <= set(TASKS)


def test_an_unreachable_hub_gives_a_remedy(task, monkeypatch):
    hub_sets(monkeypatch, ConnectionError("no route"))
    with pytest.raises(SourceUnavailable, match=r"no route.*download the original files.*`path`"):
        read_rows(task(name="boolq"))


def test_a_sample_is_spread_over_the_source_and_depends_on_the_seed():
    numbered = [(i, {"n": i}) for i in range(10_000)]
    first = [i for i, _ in sampled(numbered, most=500, seed=0)]
    assert len(first) == 500
    assert first == sorted(first)
    assert 4500 < sum(first) / 500 < 5500
    assert first != [i for i, _ in sampled(numbered, most=500, seed=1)]
    assert [i for i, _ in sampled(numbered[:9], most=500, seed=0)] == list(range(9))


def test_a_folder_without_a_text_names_the_archive_beside(tmp_path, task):
    put(tmp_path / "books.tar.xz", b"")
    put(tmp_path / "index.tsv", "title\n")
    with pytest.raises(ValueError, match=r"give the archive as `path`: .*/books.tar.xz$"):
        read_rows(task(name="texts", path=str(tmp_path)))
