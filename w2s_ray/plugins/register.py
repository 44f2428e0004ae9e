"""The decorators `loss`, `transform`, `extractor` and `task`: a plugin registers what it has.

Owns the checks of what is registered, and losses, transforms and extractors made of functions: the
function's keyword parameters are the settings. Registration has no effect until a sweep names the
plugin, so that the user's own programs and tests can import it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, overload

from pydantic import create_model

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.extractors import Extractor
from w2s_ray.methods.kinds import SOURCE, built_in_kinds
from w2s_ray.methods.losses import Loss
from w2s_ray.methods.transforms import Transform
from w2s_ray.methods.transforms.transform import LabelledRows
from w2s_ray.printable import shown

Item = TypeVar("Item", bound=Callable[..., Any])

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_registered: dict[tuple[str, str], Registered] = {}
"""(module, name there) -> what is registered; a module that is imported anew replaces its own."""


@dataclass(frozen=True)
class OwnTask:
    """A plugin's task: a function that gives its rows."""

    name: str
    form: str
    """What a row is."""
    rows: Callable[[], Any]
    file: str
    """The file of the function, for errors."""


Registered = type[Frozen] | OwnTask
"""A class of losses, transforms or extractors, or a task."""


def registered_in(module: str, *, package: bool) -> list[Registered]:
    """What a module has registered; with `package`, also the modules that are in it."""
    inside = f"{module}."
    return [
        item
        for (name, _), item in _registered.items()
        if name == module or (package and name.startswith(inside))
    ]


def loss(item: Item) -> Item:
    """Register a loss: a subclass of `Loss`, or a function of logits and labels.

    A function `f(logits_BC, labels_BC, *, q: float = 0.5)` is the loss `{kind: f, q: 0.5}`. It
    returns one value for each row, and may have the parameter `progress` as well.

    Raises:
        InputError: it can't be used as a loss.
    """
    if not inspect.isclass(item):
        return _add(item, _loss_of(item))
    own: Any = item
    _check_class(own, Loss, "w2s.Loss")
    if own.each is Loss.each and own.target is Loss.target:
        raise InputError(f"loss {own.__name__} overrides neither each nor target; add one")
    if own.statistic is not Loss.statistic and not own.needs_whole_batch:
        raise InputError(
            f"loss {own.__name__} overrides statistic, which is computed only with "
            "needs_whole_batch = True; set it"
        )
    given = {"statistic": None, "progress": 0.0}
    _check_call(own, "each", "logits_BC", "labels_BC", **given)
    _check_call(own, "target", "logits_BC", "labels_BC", **given)
    _check_call(own, "statistic", "p1_W", "labels_BC")
    _check_call(own, "prepared", "labels_NC")
    return _add(own, own)


def transform(item: Item) -> Item:
    """Register a transform of labels: a subclass of `Transform`, or a function of labels.

    A function `f(labels_NC, *, by: float = 2.0)` is the transform `{kind: f, by: 2.0}`. It returns
    the new labels of the same rows.

    Raises:
        InputError: it can't be used as a transform.
    """
    if not inspect.isclass(item):
        return _add(item, _transform_of(item))
    own: Any = item
    _check_class(own, Transform, "w2s.Transform")
    if own.apply is Transform.apply:
        raise InputError(f"transform {own.__name__} doesn't override apply; add it")
    if own.uses_ground_truth:
        raise InputError(
            f"transform {own.__name__} has uses_ground_truth, which a plugin can't have; remove it"
        )
    if own.truth_slice is not Transform.truth_slice:
        raise InputError(
            f"transform {own.__name__} has a truth_slice, which a plugin can't have; remove it"
        )
    _check_call(own, "apply", "rows")
    return _add(own, own)


def extractor(item: Item) -> Item:
    """Register an extractor of answers: a subclass of `Extractor`, or a function of a text.

    A function `f(text, *, sign: str = "=")` is the extractor `{kind: f, sign: "="}`. It returns the
    answer in the text, or None where there is none.

    Raises:
        InputError: it can't be used as an extractor.
    """
    if not inspect.isclass(item):
        return _add(item, _extractor_of(item))
    own: Any = item
    _check_class(own, Extractor, "w2s.Extractor")
    if own.extract is Extractor.extract:
        raise InputError(f"extractor {own.__name__} doesn't override extract; add it")
    _check_call(own, "extract", "text")
    return _add(own, own)


@overload
def task(item: Item) -> Item: ...
@overload
def task(*, form: str = "classes") -> Callable[[Item], Item]: ...
def task(item: Item | None = None, *, form: str = "classes") -> Item | Callable[[Item], Item]:
    """Register a task: a function without parameters that gives its rows.

    It yields or returns mappings with the columns of the `form`, or returns a pandas frame or a
    Dataset. The function's name is the task's.

    Raises:
        InputError: it can't be used as a task.
    """

    def decorated(item: Item) -> Item:
        name = _function_name(item, "task")
        try:
            inspect.signature(item).bind()
        except TypeError as error:
            raise InputError(f"task {name} is called without arguments: {error}") from None
        file = inspect.unwrap(item).__code__.co_filename
        return _add(item, OwnTask(name, form, item, file))

    return decorated if item is None else decorated(item)


def _add(item: Item, registered: Registered) -> Item:
    _registered[item.__module__, item.__qualname__] = registered
    return item


def _check_class(item: type[Any], base: type[Frozen], named: str) -> None:
    what = base.__name__.lower()
    if not issubclass(item, base):
        raise InputError(f"@w2s.{what} is above {item.__name__}, which is no {named}; make it one")
    field = item.model_fields.get("kind")
    kinds = get_args(field.annotation) if field is not None else ()
    if field is None or kinds != (field.default,) or not isinstance(field.default, str):
        raise InputError(
            f'{what} {item.__name__} has no kind; add the line kind: Literal["mine"] = "mine"'
        )
    if SOURCE in item.model_fields:
        raise InputError(f"{what} {item.__name__} has a setting {SOURCE!r}; give it another name")
    _check_kind(field.default, base)


def _check_kind(kind: str, base: type[Frozen]) -> None:
    what = base.__name__.lower()
    if not _NAME.fullmatch(kind):
        raise InputError(f"{what} kind {shown(kind)} has other characters than letters, digits, _")
    if kind in built_in_kinds(base):
        raise InputError(f"the package has the kind {kind!r} already; give the {what} another kind")


def _check_call(item: type[Any], method: str, *arguments: str, **keywords: Any) -> None:
    """Refuse a method that can't be called with these arguments, as training calls it."""
    signature = inspect.signature(getattr(item, method))
    try:
        signature.bind(None, *arguments, **keywords)
    except TypeError as error:
        called = ", ".join(("self", *arguments, *(f"{name}=..." for name in keywords)))
        raise InputError(
            f"{item.__name__}.{method} can't be called as {method}({called}): {error}"
        ) from None


def _function_name(item: Any, what: str) -> str:
    if not inspect.isfunction(item):
        raise InputError(f"@w2s.{what} is above {shown(item)}, which is no function; correct it")
    if not _NAME.fullmatch(item.__name__):
        raise InputError(f"{what} {shown(item.__name__)}: give it a name that begins with a letter")
    return item.__name__


def _loss_of(function: Any) -> type[Loss]:
    names, settings = _settings(function, Loss, arguments=("logits_BC", "labels_BC"))

    def each(self: Any, logits_BC: Any, labels_BC: Any, *, statistic: Any, progress: float) -> Any:
        given = {name: getattr(self, name) for name in settings}
        known = {"progress": progress} if "progress" in names else {}
        return function(logits_BC, labels_BC, **given, **known)

    return _made(function, Loss, settings, each=each)


def _transform_of(function: Any) -> type[Transform]:
    _, settings = _settings(function, Transform, arguments=("labels_NC",))

    def apply(self: Any, rows: LabelledRows) -> LabelledRows:
        given = {name: getattr(self, name) for name in settings}
        return rows.relabelled(function(rows.labels_NC, **given))

    return _made(function, Transform, settings, apply=apply)


def _extractor_of(function: Any) -> type[Extractor]:
    _, settings = _settings(function, Extractor, arguments=("text",))

    def extract(self: Any, text: str) -> str | None:
        return function(text, **{name: getattr(self, name) for name in settings})

    return _made(function, Extractor, settings, extract=extract)


def _settings(
    function: Any, base: type[Frozen], *, arguments: Iterable[str]
) -> tuple[set[str], dict[str, Any]]:
    """The keyword parameters of a function, and those of them that are settings, as fields."""
    what = base.__name__.lower()
    kind = _function_name(function, what)
    _check_kind(kind, base)
    parameters = inspect.signature(function).parameters
    keywords = {n: p for n, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    positional = [name for name in parameters if name not in keywords]
    if len(positional) != len(tuple(arguments)):
        raise InputError(
            f"{what} {kind} has the parameters ({', '.join(positional)}) before `*`; write "
            f"{kind}({', '.join(arguments)}, *, setting: float = 0.5)"
        )
    settings = {}
    for name, parameter in keywords.items():
        if name == "progress" and base is Loss:
            continue
        if parameter.annotation is parameter.empty or parameter.default is parameter.empty:
            raise InputError(f"{what} {kind}: write {name}: TYPE = DEFAULT, as for every setting")
        if name in (SOURCE, "kind"):
            raise InputError(f"{what} {kind} has a setting {name!r}; give it another name")
        settings[name] = (parameter.annotation, parameter.default)
    return set(keywords), settings


def _made(
    function: Any, base: type[Any], settings: Mapping[str, Any], **methods: Callable[..., Any]
) -> type[Any]:
    """A subclass of `base` with a function's settings and these methods."""
    name = function.__name__
    fields: dict[str, Any] = {"kind": (Literal[name], name), **settings}
    made = create_model(
        name, __base__=base, __module__=function.__module__, __doc__=function.__doc__, **fields
    )
    for name, method in methods.items():
        setattr(made, name, method)
    return made
