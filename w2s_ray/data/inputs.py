"""Resolves a sweep's tasks to split fingerprints and its models to identities.

Owns the data that planning needs about inputs, and the cache that makes repeated planning fast.
Inputs that can't be resolved offline are provisional: their plan can be printed but not run. It
plans no runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from w2s_ray.config import (
    ALL_ROWS,
    FORMS,
    PARTS,
    FormName,
    Model,
    ModelSource,
    Part,
    PretrainArchitecture,
    Sweep,
    Task,
    forms,
)
from w2s_ray.data.answers import AnswerLengths, answer_lengths
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.cells import name_list
from w2s_ray.data.descriptions import load_architectures
from w2s_ray.data.example import Rows
from w2s_ray.data.fetch import fetch_config
from w2s_ray.data.files import MissingFile, stamp
from w2s_ray.data.folders import NEW, ModelFiles, check_model, check_reads, model_files
from w2s_ray.data.hub import LOOKUPS, is_cached
from w2s_ray.data.images import has_images, image_stamps
from w2s_ray.data.lengths import quantiles
from w2s_ray.data.models import (
    check_values,
    makes_features_only,
    model_source,
    needs_images,
)
from w2s_ray.data.own_files import task_stamps
from w2s_ray.data.sources import SourceUnavailable, form_of, on_hub, read_rows
from w2s_ray.data.split import Documents, Split, groups_digest, make_split, part_sizes
from w2s_ray.data.templates import check_template, template_digest
from w2s_ray.errors import InputError
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.network import HubUnreachable

_CODE = (Path(__file__).parent, Path(forms.__file__).parent)
"""Folders of the code that makes splits: this package and the facts about forms."""
FORMAT_VERSION = 3
"""Incremented whenever the same source gives a different split, so that old notes are ignored."""


@dataclass(frozen=True)
class SplitRef:
    """A split without its rows: what planning needs."""

    fingerprint: str
    """The split's fingerprint; `unresolved-...` if it is provisional."""
    provisional: bool
    """True if the data is unavailable; such a plan can't be run."""
    counts: Mapping[Part, int]
    """Rows of each part."""
    note: str = ""
    """A note for the printed plan: rows dropped, or why the split is provisional."""
    words: Mapping[Part, tuple[float, ...]] = field(default_factory=dict)
    """Words of each part's rows, as quantiles (see `lengths`); empty where it is provisional."""
    form: FormName = "classes"
    """What a row is."""
    chat: bool = False
    """Whether texts are chat messages, rendered with each model's chat template."""
    groups: str = ""
    """Digest of the rows' groups, which no fingerprint contains; empty if it is provisional."""
    choices: int = 1
    """Largest number of choices of a row; 1 if rows have none, or it is provisional."""
    classes: tuple[str, ...] = ()
    """Names of several classes in order; empty if rows have none, or it is provisional."""


@dataclass(frozen=True)
class Inputs:
    """The resolved inputs of a sweep."""

    splits: Mapping[str, SplitRef]
    """Task name -> split."""
    models: Mapping[str, ModelSource]
    """Model label -> source."""
    corpora: Mapping[str, SplitRef] = field(default_factory=dict)
    """Label of a model that the sweep pretrains -> split of its corpus."""
    architectures: Mapping[str, PretrainArchitecture] = field(default_factory=dict)
    """Identity of a model that the sweep pretrains -> its architecture."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """Model label -> digest of its chat template files, if it has files outside its identity."""
    answers: Mapping[tuple[str, str], AnswerLengths] = field(default_factory=dict)
    """(fingerprint, identity of a model) -> tokens of the answers, if they can be counted."""

    @property
    def unresolved(self) -> Mapping[str, tuple[str, ...]]:
        """Reason -> the tasks and models that couldn't be resolved, such as `task sciq`."""
        found: dict[str, list[str]] = {}
        for name, split in self.splits.items():
            if split.provisional:
                found.setdefault(split.note, []).append(f"task {name}")
        for name, corpus in self.corpora.items():
            if corpus.provisional:
                found.setdefault(corpus.note, []).append(f"corpus {name}")
        for label, source in self.models.items():
            if source.provisional:
                found.setdefault(source.note, []).append(f"model {label}")
        return {reason: tuple(names) for reason, names in found.items()}


def resolve(
    sweep: Sweep, *, online: bool = True, progress: Callable[[str], None] = lambda part: None
) -> Inputs:
    """The splits and models of `sweep`.

    Without `online`, no request is made. With it, the process makes no more requests after one
    failed. `progress` is called with each model and task before it is read.

    Raises:
        InputError: an invalid task or model.
    """
    models, corpora, architectures = {}, {}, {}
    files: dict[str, ModelFiles] = {}
    reads_text = any(FORMS[form_of(task)].has_texts for task in sweep.tasks)
    for model in sweep.models:
        progress(f"model {model.label}")
        for task in sweep.tasks:
            _check_reads(model, task)
        with errors_of_model(model.label):
            made = sweep.pretraining_of(model)
            if made is not None and made[0].pretrain is not None:
                architecture = made[0].pretrain.architecture
                new = f"{NEW}{digest(architecture.model_dump())[:ID_LENGTH]}"
                architectures[new] = architecture
                models[model.label] = ModelSource(
                    name=model.label, location=model.label, identity=new
                )
                if model.pretrain is not None:
                    corpora[model.label] = split_ref(model.pretrain.corpus, online=online)
                continue
            models[model.label] = model_source(model, online=online)
            if online and LOOKUPS.reachable() and not makes_features_only(model):
                try:
                    fetch_config(models[model.label])
                except HubUnreachable as error:  # such a model is planned without an estimate
                    LOOKUPS.failure = str(error)
            found = None if makes_features_only(model) else model_files(models[model.label])
            if found is not None:
                files[model.label] = found
                if reads_text:
                    check_reads(models[model.label], found)
                if models[model.label].revision is None:  # weights of hub models are read later
                    check_values(models[model.label])
    load_architectures(
        [
            *(found.config for found in files.values() if not found.own_code),
            *(new.config(new.most_tokens) for new in architectures.values()),
        ]
    )
    for label, found in files.items():
        with errors_of_model(label):
            check_model(models[label], found, reads_text=reads_text)
    splits, answers = {}, {}
    for task in sweep.tasks:
        progress(f"task {task.name}")
        splits[task.name], made = _resolved(task, online)
        if splits[task.name].chat:
            _check_templates(task, splits[task.name].fingerprint, made, models, online)
        if FORMS[form_of(task)].is_completed and not splits[task.name].provisional:
            answers |= _answers(task, splits[task.name].fingerprint, made, models, online)
    templates: dict[str, str] = {}
    if any(split.chat for split in splits.values()):
        digests = {label: template_digest(Path(m.location)) for label, m in models.items()}
        templates = {label: name for label, name in digests.items() if name is not None}
    return Inputs(splits, models, corpora, architectures, templates, answers)


_PLURALS = {"task": "tasks", "model": "models", "corpus": "corpora"}


def together(names: Iterable[str]) -> str:
    """`task a`, `task b` and `model c` as `tasks a, b and model c`."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        kind, _, rest = name.partition(" ")
        by_kind.setdefault(kind, []).append(rest)
    return " and ".join(
        f"{_PLURALS[kind] if len(found) > 1 else kind} {', '.join(found)}"
        for kind, found in by_kind.items()
    )


@contextmanager
def errors_of_model(label: str) -> Iterator[None]:
    """Within it, an error names the model."""
    try:
        yield
    except InputError as error:
        raise InputError(f"models.{label}: {error}") from None


def _answers(
    task: Task,
    fingerprint: str,
    made: Split | None,
    models: Mapping[str, ModelSource],
    online: bool,
) -> dict[tuple[str, str], AnswerLengths]:
    """The lengths of a split's answers for every model; `made` is the split, if it was read."""
    split = _read_once(task, made, online)
    found = {
        (fingerprint, source.identity): answer_lengths(fingerprint, source, split=split)
        for source in models.values()
    }
    return {key: lengths for key, lengths in found.items() if lengths is not None}


def _check_templates(
    task: Task,
    fingerprint: str,
    made: Split | None,
    models: Mapping[str, ModelSource],
    online: bool,
) -> None:
    """Refuse models whose chat template can't render a split; `made` is the split, if it was read.

    Raises:
        InputError: names the model, the task, the row and the template's error.
    """
    split = _read_once(task, made, online)
    for label, source in models.items():
        with errors_of_model(label):
            check_template(source, task=task.name, fingerprint=fingerprint, split=split)


def _read_once(task: Task, made: Split | None, online: bool) -> Callable[[], Split]:
    """A function that returns the split of `task`: `made`, or read at the first call."""

    @cache
    def split() -> Split:
        return made if made is not None else load_split(task, online=online)

    return split


def _check_reads(model: Model, task: Task) -> None:
    """Refuse a model of images for a task of texts, and the reverse where that is plain."""
    has_texts = FORMS[form_of(task)].has_texts
    if has_texts and makes_features_only(model):
        raise InputError(
            f"models.{model.label}: {model.name} computes features of images, but task "
            f"{task.name} has texts; give a language model"
        )
    if not has_texts and needs_images(model) and not has_images(task):
        raise InputError(
            f"models.{model.label}: {model.name} computes features of images, but task "
            f"{task.name} has none; give a feature file (.npz or .parquet), or the images as "
            "`columns.image`"
        )


def split_ref(task: Task, *, online: bool = True) -> SplitRef:
    """The fingerprint and counts of the split of `task`, from the cache if possible.

    Raises:
        InputError: as for `load_split`, but a missing file or an unavailable hub dataset gives a
            provisional split.
    """
    return _resolved(task, online)[0]


def _resolved(task: Task, online: bool) -> tuple[SplitRef, Split | None]:
    """The reference to the split of `task`, and the split itself if it was not in the cache."""
    commit, unresolved = _commit(task, online)
    if unresolved:
        return _provisional(task, unresolved), None
    try:
        key = None if task.own is not None else _key(task, commit)
        note = None if key is None else read_note("splits", key=key)
        known = _from_note(note, form_of(task))
        if known is not None:
            return known, None
        split = make_split(_rows(task, commit, online), task=task)
    except (MissingFile, SourceUnavailable) as error:
        why = str(error).removeprefix(f"task {task.name}: ")
        return _provisional(task, why), None
    words: dict[Part, tuple[float, ...]] = {
        part: quantiles([len(text.split()) for row in rows for text in row.read(split.form)])
        for part, rows in split.parts.items()
    }
    shown = _note(split, task)
    chat = any(row.chat is not None for row in split.parts["test"])
    groups = groups_digest(row for rows in split.parts.values() for row in rows)
    choices = max(len(row.choices or (1,)) for rows in split.parts.values() for row in rows)
    found = SplitRef(
        split.fingerprint,
        False,
        split.counts,
        shown,
        words,
        split.form,
        chat,
        groups,
        choices,
        classes=split.classes,
    )
    if key is not None:
        write_note("splits", key=key, note=asdict(found))
    return found, split


def load_split(task: Task, *, expected: str | None = None, online: bool = True) -> Split:
    """The rows of `task` in their parts.

    Raises:
        InputError: the data is missing, wrong or too little, or its fingerprint is not `expected`.
    """
    commit, _ = _commit(task, online)
    split = make_split(_rows(task, commit, online), task=task)
    if expected is not None and split.fingerprint != expected:
        raise InputError(
            f"task {task.name}: the split is {split.fingerprint}, but {expected} in the plan; the "
            "data changed since it was planned: plan again"
        )
    return split


def _commit(task: Task, online: bool) -> tuple[str | None, str]:
    """The commit of a hub dataset, and the reason if it can't be resolved."""
    hub = on_hub(task)
    if hub is None:
        return None, ""
    revision = task.revision or hub.revision
    try:
        commit = LOOKUPS.commit(hub.name, kind="dataset", revision=revision, online=online)
    except InputError as error:
        raise InputError(f"task {task.name}: {error}{hub.other_source}") from None
    return commit, "" if commit is not None else LOOKUPS.why_unresolved()


def _rows(task: Task, commit: str | None, online: bool) -> Rows:
    """The rows of `task`.

    Raises:
        SourceUnavailable: a hub dataset that is not on this machine, and no network.
    """
    hub, offline = on_hub(task), not (online and LOOKUPS.reachable())
    if hub is not None and commit is not None and offline and not is_cached(hub.name, commit):
        raise SourceUnavailable(LOOKUPS.why_unresolved())  # the library would take seconds
    return read_rows(task, commit=commit, offline=offline)


def _key(task: Task, commit: str | None) -> dict[str, Any]:
    """The cache key of a split: the declaration, the data, and the code that makes the split.

    The paths are included because a folder and the only file in it have the same stamps but are
    read differently.
    """
    files = task_stamps(task)
    return {
        "format": FORMAT_VERSION,
        "task": task.model_dump(mode="json", exclude={"path", "revision"}),
        "commit": commit,
        "paths": [str(Path(path).expanduser().absolute()) for path in task.paths.values()],
        "files": [list(s) for s in files],
        "images": [list(s) for s in image_stamps(task)],
        "code": [list(stamp(p)) for folder in _CODE for p in sorted(folder.glob("*.py"))],
    }


def _provisional(task: Task, why: str) -> SplitRef:
    # A provisional name is not changed by a setting that is left out.
    optional = ("dedupe", "files", "join", "split")
    left_out = {key for key in optional if not getattr(task, key)}
    declared = {
        "format": FORMAT_VERSION,
        "task": task.model_dump(mode="json", exclude=left_out),
    }
    name = f"unresolved-{digest(declared)[:ID_LENGTH]}"
    form = form_of(task)
    sizes = part_sizes(task, form=form)
    if task.train == ALL_ROWS:
        sizes["supervisor_half"] = 0  # their number is unknown
    return SplitRef(name, True, {part: sizes[part] for part in PARTS}, why, form=form)


def _from_note(note: dict[str, Any] | None, form: FormName) -> SplitRef | None:
    match note:
        case {
            "fingerprint": str(name),
            "counts": dict(counts),
            "note": str(text),
            "words": dict(words),
            "chat": bool(chat),
            "groups": str(groups),
            "choices": int(choices),
            "classes": list(classes),
        } if set(counts) == set(words) == set(PARTS):
            quantiles_of = {part: tuple(found) for part, found in words.items()}
            more = (groups, choices, tuple(classes))
            return SplitRef(name, False, counts, text, quantiles_of, form, chat, *more)
        case _:
            return None


def _note(split: Split, task: Task) -> str:
    parts = [", ".join(_sources(split, task))]
    if split.documents is not None:
        parts = [*(parts if task.part_files else []), *_corpus_note(split, split.documents)]
    parts += _dropped(split)
    if copies := sum(count > 0 for count in (split.near_copies or {}).values()):
        of = split.counts["test"]
        are = "row is a near copy" if copies == 1 else "rows are near copies"
        parts.append(f"{copies:,} of {of:,} test {are} of training rows")
    if any(row.chat is not None for row in split.parts["test"]):
        parts.append("chat messages")
    parts += _classes(split)
    if counts := [len(row.choices) for row in split.parts["test"] if row.choices is not None]:
        fewest, most = min(counts), max(counts)
        chance = fmean(1 / count for count in counts)
        number = f"{most}" if fewest == most else f"{fewest} to {most}"
        parts.append(f"{number} choices a row in an order by their texts, chance {chance:.1%}")
    return "; ".join(parts)


def _classes(split: Split) -> list[str]:
    """The number of several classes, and those that a part lacks."""
    if not split.classes:
        return []
    lacking = [
        f"{part.replace('_', ' ')} has no row of {name_list(missing)}"
        for part, rows in split.parts.items()
        if (found := {row.answer for row in rows})
        if (missing := [name for name in split.classes if name not in found])
    ]
    return [f"{len(split.classes)} classes ({name_list(split.classes)})", *lacking]


def _sources(split: Split, task: Task) -> list[str]:
    """Where the rows of the parts are from."""
    own = [f"{part} rows from {file.path or file.split}" for part, file in task.part_files.items()]
    if split.own_test and "test" not in task.part_files:
        own.append("test rows from the source's own test split")
    files = f" from {split.files:,} files" if split.files > 1 else ""
    rest = f"{'other rows' if own else 'one pool of rows'}{files}"
    return [*own, *([rest] if files or not own else [])]


def _dropped(split: Split) -> list[str]:
    dropped = [
        f"{count:,} {reason.replace('_', ' ')}" for reason, count in split.dropped.items() if count
    ]
    return [f"dropped {', '.join(dropped)}"] if dropped else []


def _corpus_note(split: Split, documents: Documents) -> list[str]:
    """What keeps texts of a corpus together, and how many of them are in no part."""
    every = sum(split.counts.values()) + split.unused
    note = f"{every:,} texts"
    if documents.count < every:
        whole = "each in one part" if not documents.divided else f"{documents.divided:,} divided"
        note += f" of {documents.count:,} document{'s' * (documents.count > 1)}, {whole}"
    return [note, *([f"{split.unused:,} texts in no part"] if split.unused else [])]
