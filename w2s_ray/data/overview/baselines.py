"""Accuracies that need no model: what a majority, lengths or words alone give away of the labels.

Owns these rules, their settings and the cache of their accuracies. Each is learned from ground
truth of training rows, of both halves. scikit-learn is imported when one is computed. Shapes: N
rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from w2s_ray.config import FORMS, Form, Part
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.example import Example, normal_answer
from w2s_ray.data.overview.rows import HALVES, TaskRows
from w2s_ray.data.overview.values import Baseline
from w2s_ray.printable import one_line

VERSION = 2
"""Incremented whenever a baseline changes, so that old notes are ignored."""
MOST_ROWS = 20_000
"""Largest number of training rows that are used; of more, the first of each half."""
MOST_ANSWERS = 50
"""Largest number of different answers or classes that words are used to predict."""
_LEAVES = 8
_WORD = r"(?u)\b\w+\b"
_SEED = 0
_TIE = 0.5
_TREE = f"a decision tree of {_LEAVES} leaves on the numbers of words and characters"
_REGRESSION = "logistic regression on the tf-idf of single words"
MAJORITY, LENGTH, WORDS, CHANCE = "majority", "length alone", "bag of words", "chance"


def training_rows(rows: TaskRows) -> tuple[Example, ...]:
    """The rows that baselines are learned from."""
    halves = [rows.parts[part] for part in HALVES]
    if sum(map(len, halves)) <= MOST_ROWS:
        return rows.train
    return tuple(row for half in halves for row in half[: MOST_ROWS // 2])


def baselines(rows: TaskRows, *, on: Part) -> tuple[Baseline, ...]:
    """The baselines of a task, measured on one part; none without training rows or rows of it."""
    key = [VERSION, rows.fingerprint, on]
    match read_note("baselines", key=key):
        case {"baselines": list(known)}:
            return tuple(Baseline(**each) for each in known)
    train, test = training_rows(rows), rows.parts[on]
    if not train or not test:
        return ()
    form = FORMS[rows.form]
    if form.texts > 1 and form.has_two_classes:
        found = _of_pairs(train, test)
    elif form.has_two_classes:
        found = _of_classes(train, test)
    elif form.has_choices:
        found = _of_choices(train, test)
    else:
        found = _of_answers(train, test, form=form)
    write_note("baselines", key=key, note={"baselines": [asdict(each) for each in found]})
    return tuple(found)


def _of_classes(train: Sequence[Example], test: Sequence[Example]) -> list[Baseline]:
    labels, truth = [row.label for row in train], [row.label for row in test]
    common = max((0, 1), key=labels.count)
    found = [_measured(MAJORITY, f"always class {common}", lambda: [common] * len(test), truth)]
    if len(set(labels)) < 2:
        why = f"all training rows have class {common}"
        return [*found, *(Baseline(name, None, why) for name in (LENGTH, WORDS))]
    return [
        *found,
        _measured(LENGTH, _TREE, lambda: _by_length(train, labels, test), truth),
        _measured(WORDS, _REGRESSION, lambda: _by_words(train, labels, test), truth),
    ]


def _of_pairs(train: Sequence[Example], test: Sequence[Example]) -> list[Baseline]:
    labels, truth = [row.label for row in train], [row.label for row in test]
    common = max((1, 0), key=labels.count)
    side = "first" if common else "second"
    decided = [(a, row.label) for row in train if (a := _is_first_longer(row)) is not None]
    agreeing = sum(a == label for a, label in decided)
    is_longer = 2 * agreeing >= len(decided)
    share = max(agreeing, len(decided) - agreeing) / len(decided) if decided else 0.5
    rule = "longer" if is_longer else "shorter"

    def by_length() -> list[float]:
        first = map(_is_first_longer, test)
        return [_TIE if a is None else float(a == is_longer) for a in first]

    found = [
        _measured(MAJORITY, f"always the {side} text", lambda: [common] * len(test), truth),
        _measured(
            LENGTH,
            f"the {rule} text is better, as in {share:.0%} of training pairs",
            by_length,
            truth,
        ),
    ]
    if len(set(labels)) < 2:
        return [*found, Baseline(WORDS, None, f"the {side} text is better in all training pairs")]
    how = f"{_REGRESSION}, the difference of both texts"
    return [*found, _measured(WORDS, how, lambda: _by_word_difference(train, labels, test), truth)]


def _of_choices(train: Sequence[Example], test: Sequence[Example]) -> list[Baseline]:
    """Chance, and the longest or the shortest choice, whichever is right more often in training."""
    truth = [row.answer for row in test]
    chance = sum(1 / len(row.choices or (1,)) for row in test) / len(test)
    rules = {"longest": max, "shortest": min}

    def chosen(rule: str, rows: Sequence[Example]) -> list[str]:
        return [rules[rule](row.choices or ("",), key=len) for row in rows]

    rights = {
        rule: sum(c == row.answer for c, row in zip(chosen(rule, train), train, strict=True))
        for rule in rules
    }
    rule = max(rules, key=lambda name: rights[name])
    how = f"the {rule} choice, which is right in {rights[rule] / len(train):.0%} of training rows"
    return [
        Baseline(CHANCE, chance, "any choice"),
        _measured(LENGTH, how, lambda: chosen(rule, test), truth),
    ]


def _of_answers(train: Sequence[Example], test: Sequence[Example], *, form: Form) -> list[Baseline]:
    """Of several classes, or of answers; words predict them where there are few different ones.

    Lengths are tried for classes alone.
    """
    labels, truth = ([normal_answer(r.compared or "") for r in rows] for rows in (train, test))
    counts = Counter(labels)
    common = min(counts, key=lambda answer: (-counts[answer], answer))
    classes = form.has_several_classes
    how = f"always class {common}" if classes else "always the most frequent answer"
    found = [_measured(MAJORITY, how, lambda: [common] * len(test), truth)]
    if not form.has_texts:
        return found
    names = (LENGTH, WORDS) if classes else (WORDS,)
    if not 1 < len(counts) <= MOST_ANSWERS:
        why = f"training rows have {len(counts):,} different {'classes' if classes else 'answers'}"
        return [*found, *(Baseline(name, None, why) for name in names)]
    if classes:
        found.append(
            _measured(LENGTH, _TREE, lambda: _by_length(train, labels, test), truth),
        )
    return [*found, _measured(WORDS, _REGRESSION, lambda: _by_words(train, labels, test), truth)]


def _measured(
    name: str, how: str, predict: Callable[[], Sequence[Any]], truth: Sequence[Any]
) -> Baseline:
    """The accuracy of predicted labels; half of the ties are right."""
    try:
        predicted = predict()
    except ValueError as error:  # texts without any word
        return Baseline(name, None, one_line(str(error)))
    rights = (0.5 if p == _TIE else float(p == t) for p, t in zip(predicted, truth, strict=True))
    return Baseline(name, sum(rights) / len(truth), how)


def _sizes(row: Example) -> tuple[int, int]:
    return len(row.text.split()), len(row.text)


def _is_first_longer(row: Example) -> bool | None:
    """Whether a pair's first text has more words, or as many and more characters; None = alike."""
    second = row.second or ""
    one, other = _sizes(row), (len(second.split()), len(second))
    return None if one == other else one > other


def _by_length(
    train: Sequence[Example], labels: Sequence[Any], test: Sequence[Example]
) -> Sequence[Any]:
    from sklearn.tree import DecisionTreeClassifier

    least = max(5, len(train) // 50)
    tree = DecisionTreeClassifier(
        max_leaf_nodes=_LEAVES, min_samples_leaf=least, random_state=_SEED
    )
    tree.fit([_sizes(row) for row in train], labels)
    return tree.predict([_sizes(row) for row in test]).tolist()


def _by_words(
    train: Sequence[Example], labels: Sequence[Any], test: Sequence[Example]
) -> Sequence[Any]:
    words = _vectorizer()
    train_NW = words.fit_transform([row.text for row in train])
    model = _regression().fit(train_NW, labels)
    return model.predict(words.transform([row.text for row in test])).tolist()


def _by_word_difference(
    train: Sequence[Example], labels: Sequence[Any], test: Sequence[Example]
) -> Sequence[Any]:
    words = _vectorizer().fit([text for row in train for text in (row.text, row.second or "")])

    def difference(rows: Sequence[Example]) -> Any:
        first = words.transform([row.text for row in rows])
        return first - words.transform([row.second or "" for row in rows])

    model = _regression(fit_intercept=False).fit(difference(train), labels)
    return model.predict(difference(test)).tolist()


def _vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(token_pattern=_WORD, sublinear_tf=True)


def _regression(*, fit_intercept: bool = True) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000, fit_intercept=fit_intercept)
