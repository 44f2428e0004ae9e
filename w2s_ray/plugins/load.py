"""Loading plugins, in this process and in those that get a value of a plugin's kind.

Owns the execution of a plugin, the classes with its source's digest, and their pickled form. A
plugin file is pickled with its text, so that every process executes what was planned. A module is
imported where it arrives, and there its source must have the digest of the plan. A plugin that
can't be loaded where it arrives makes its kinds absent: whatever uses them fails with the reason.
"""

from __future__ import annotations

import contextlib
import importlib
import linecache
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, ClassVar, Literal

from pydantic import create_model

from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.extractors import Extractor
from w2s_ray.methods.extractors.absent import AbsentExtractor
from w2s_ray.methods.kinds import (
    SOURCE,
    add_failure,
    add_loaded,
    find_loaded,
    kind_of,
    plugin_kinds,
)
from w2s_ray.methods.losses import AbsentLoss, Loss
from w2s_ray.methods.transforms import AbsentTransform, Transform
from w2s_ray.plugins.guard import guarded
from w2s_ray.plugins.register import OwnTask, registered_in
from w2s_ray.plugins.source import Source, of_module


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin. Unpickling one loads it."""

    source: Source
    kinds: tuple[type[Frozen], ...]
    """Its losses, transforms and extractors."""
    tasks: tuple[OwnTask, ...]

    @property
    def name(self) -> str:
        """As in the sweep file."""
        return self.source.name

    def __reduce__(self) -> tuple[Any, ...]:
        return arrived, (self.source,)


Base = Literal["loss", "transform", "extractor"]
_BASES: Mapping[Base, type[Frozen]] = {
    "loss": Loss,
    "transform": Transform,
    "extractor": Extractor,
}
_ABSENT: Mapping[Base, type[Frozen]] = {
    "loss": AbsentLoss,
    "transform": AbsentTransform,
    "extractor": AbsentExtractor,
}
_plugins: dict[tuple[str, str], Plugin] = {}
"""(module, digest) -> the plugin, for those that this process has loaded."""
_imported: dict[str, str] = {}
"""Module, or the package that it is in -> the digest of its source when it was imported."""
_active: ContextVar[tuple[Plugin, ...]] = ContextVar("active", default=())
"""The plugins of the sweep file that is being validated."""


class PluginKind(Frozen):
    """What a plugin's kinds share: the digest of the source, and how instances are pickled."""

    plugin: ClassVar[Plugin]

    def __reduce__(self) -> tuple[Any, ...]:
        kind = kind_of(type(self))
        return restored, (self.plugin.source, _base(type(self)), kind, self.__getstate__())


def loaded(source: Source) -> Plugin:
    """The plugin with this source; it is executed once in a process.

    Raises:
        InputError: it raises an error, or registers nothing; or its package has changed since this
            process imported it.
    """
    key = source.module, source.digest
    if key not in _plugins:
        top = source.module.partition(".")[0]
        if _imported.setdefault(top, source.digest) != source.digest:
            raise InputError(
                f"{source.path} has changed since this process imported {top}; start the program "
                "again"
            )
        _execute(source)
        _plugins[key] = _plugin(source)
    return replace(_plugins[key], source=source)  # the same text may have another name


def arrived(source: Source) -> Plugin | None:
    """The plugin that was pickled in another process; None if it can't be loaded here."""
    try:
        if (source.module, source.digest) not in _plugins and source.text is None:
            here = of_module(source.name, source.module)
            if here.digest != source.digest:
                raise InputError(
                    f"{source.module} has the source {here.digest[:8]}, and the plan has "
                    f"{source.digest[:8]}; install the planned version on every machine"
                )
        return loaded(source)
    except InputError as error:
        add_failure(
            source.digest,
            f"the plugin {source.name} can't be loaded on {socket.gethostname()}: {error}",
        )
        return None


def restored(source: Source, base: Base, kind: str, state: Any) -> Frozen:
    """The instance of a plugin's kind that was pickled in another process."""
    arrived(source)
    found = find_loaded(kind, source.digest)
    if found is None:
        return _ABSENT[base].model_construct(**state["__dict__"])
    instance = found.__new__(found)
    instance.__setstate__(state)
    return instance


@contextlib.contextmanager
def active_plugins(plugins: Sequence[Plugin]) -> Iterator[None]:
    """Within it, a sweep file may use what these plugins have.

    Raises:
        InputError: two of them have the same kind or task.
    """
    for table in ("kinds", "tasks"):
        owners: dict[Any, str] = {}
        for plugin in plugins:
            for item in getattr(plugin, table):
                name = item.name if isinstance(item, OwnTask) else (_base(item), kind_of(item))
                if owners.setdefault(name, plugin.name) != plugin.name:
                    shown = item.name if isinstance(item, OwnTask) else kind_of(item)
                    raise InputError(
                        f"{owners[name]} and {plugin.name} both have {shown!r}; rename one"
                    )
    token = _active.set(tuple(plugins))
    try:
        with plugin_kinds(kind for plugin in plugins for kind in plugin.kinds):
            yield
    finally:
        _active.reset(token)


def usable() -> tuple[Plugin, ...]:
    """The plugins of the sweep file that is being validated."""
    return _active.get()


def usable_task(name: str) -> OwnTask | None:
    """The task with this name of these plugins."""
    tasks = (task for plugin in _active.get() for task in plugin.tasks)
    return next((task for task in tasks if task.name == name), None)


def _execute(source: Source) -> None:
    """Import a module, or execute a file as a module of its own."""
    if source.text is None:
        with guarded(source.module, code=source.path):
            importlib.import_module(source.module)
        return
    module = ModuleType(source.module)
    module.__file__ = source.path
    sys.modules[source.module] = module
    lines = source.text.splitlines(keepends=True)
    linecache.cache[source.path] = (len(source.text), None, lines, source.path)
    try:
        with guarded(source.path, code=source.path):
            exec(compile(source.text, source.path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[source.module]
        raise


def _plugin(source: Source) -> Plugin:
    """What an executed plugin has registered, with the digest of its source."""
    items = registered_in(source.module, package=source.text is None)
    if not items:
        raise InputError(
            f"{source.path} registers nothing; put @w2s.loss, @w2s.transform, @w2s.extractor or "
            "@w2s.task above what it has"
        )
    names: dict[Any, None] = {}
    for item in items:
        name = ("task", item.name) if isinstance(item, OwnTask) else (_base(item), kind_of(item))
        if name in names:
            raise InputError(f"{source.path} has two of {' '.join(name)!r}; rename one")
        names[name] = None
    classes = [item for item in items if not isinstance(item, OwnTask)]
    kinds = tuple(_with_source(kind, source) for kind in classes)
    tasks = tuple(item for item in items if isinstance(item, OwnTask))
    plugin = Plugin(source, kinds, tasks)
    for kind in kinds:
        kind.plugin = plugin
        add_loaded(kind)
    return plugin


def _base(kind: type[Frozen]) -> Base:
    return next(name for name, base in _BASES.items() if issubclass(kind, base))


def _with_source(kind: type[Frozen], source: Source) -> type[PluginKind]:
    """The class with a setting that has the digest of its plugin's source."""
    digest: Mapping[str, Any] = {SOURCE: (Literal[source.digest], source.digest)}
    made: Any = create_model(
        kind.__name__,
        __base__=(PluginKind, kind),
        __module__=kind.__module__,
        __doc__=kind.__doc__,
        **digest,
    )
    return made
