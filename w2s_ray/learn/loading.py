"""Pretrained models from their files: configuration and weights, or one line on what is wrong.

Owns the calls that read a model's folder, the loading report and the check of the loaded values. A
tensor that the model needs and the files lack is never replaced by random numbers. Heads,
adapters and training are handled elsewhere.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from w2s_ray.config import ModelSource
from w2s_ray.config.execution import Attention
from w2s_ray.errors import InputError
from w2s_ray.learn.frozen_weights import held
from w2s_ray.network import HubUnreachable, is_of_the_network

_SHOWN = 3
"""Tensors that a line names."""
_LONGEST_REASON = 240
_MISSING = (None, errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR)
"""Error numbers of files that are missing or can't be read; transformers' own errors have none."""


def load_config(source: ModelSource) -> Any:
    """The configuration of the model at `source`.

    Raises:
        InputError: there is none that transformers can read.
    """
    from transformers import AutoConfig

    with reading(source):
        return AutoConfig.from_pretrained(source.location, **_at(source))


def load_weights(
    loader: Any, source: ModelSource, config: Any, *, attention: Attention = "auto"
) -> Any:
    """The model that `loader` makes of `source`, in fp32.

    Raises:
        InputError: files that don't fit `config`, values that are not finite, or an `attention`
            that can't be used.
    """
    named = {} if attention == "auto" else {"attn_implementation": attention}
    with _attention_errors(source, attention):
        model = _load(loader, source, config, **named)
    name = _not_finite(model)
    if name:
        raise InputError(
            f"{called(source)}: tensor {name} has NaN or infinite values; the file is damaged or "
            "its training diverged: name another model"
        )
    return model


@contextmanager
def _attention_errors(source: ModelSource, attention: Attention) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if isinstance(error.__cause__, ImportError | ValueError) and attention != "auto":
            reason = " ".join(str(error.__cause__).split()).partition(". ")[0].rstrip(".")
            raise InputError(
                f"{called(source)} can't use execution.attention: {attention} here: {reason}; "
                "set attention: sdpa, or install what is missing"
            ) from error
        raise


def check_weights(loader: Any, source: ModelSource, config: Any) -> None:
    """Refuse files that don't fit `config`, by names and shapes alone: no value is read.

    ZeRO-3 needs it, since transformers' report of sharded loading is incomplete.
    """
    _load(loader, source, config, device_map="meta")


@contextmanager
def reading(source: ModelSource) -> Iterator[None]:
    """Within it, a library's error about the files of `source` becomes an `InputError`.

    Errors of memory and disk stay what they are; those of the network become `HubUnreachable`.
    """
    from huggingface_hub.errors import HFValidationError, StrictDataclassError
    from safetensors import SafetensorError

    of_files = (
        *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError),
        *(ImportError, AssertionError, RuntimeError, HFValidationError, StrictDataclassError),
        SafetensorError,
    )
    try:
        yield
    except InputError:
        raise
    except of_files as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if is_of_the_network(error):
            raise HubUnreachable(f"{called(source)} can't be downloaded: {reason}") from error
        if _is_of_the_machine(error):
            raise
        if not isinstance(error, OSError | ValueError):
            reason = f"{type(error).__name__}: {reason}"
        reason = reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}..."
        raise InputError(
            f"{called(source)} can't be loaded: {reason.rstrip('.')}; name a folder that "
            "save_pretrained wrote, or a hub model"
        ) from error


def called(source: ModelSource) -> str:
    """The name of a model in an error."""
    where = "" if source.location == source.name else f" ({source.location})"
    return f"model {source.name}{where}"


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Within it, transformers draws no bars."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Within it, transformers logs errors alone: its table of tensors is one line of ours."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _at(source: ModelSource) -> dict[str, Any]:
    return {"revision": source.revision, "trust_remote_code": source.trust_remote_code}


def _load(loader: Any, source: ModelSource, config: Any, **more: Any) -> Any:
    """A model whose loading report is clean."""
    with reading(source), no_progress_bars(), no_warnings():
        model, report = loader.from_pretrained(
            source.location,
            config=config,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report has them
            **_at(source),
            **more,
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(
            f"{called(source)} holds an adapter, whose base was loaded in its place; merge it into "
            "its base: PeftModel.from_pretrained(base, folder).merge_and_unload()"
        )
    wrong = _misfit(model, report)
    if wrong:
        raise InputError(
            f"{called(source)}: its weights don't fit its config.json ({type(model).__name__}): "
            f"{wrong}; name a folder whose config.json and weights belong together"
        )
    return model


def _misfit(model: Any, report: dict[str, Any]) -> str:
    """The problems in a loading report, without those that are expected; empty = none."""
    missing = [name for name in report["missing_keys"] if not _is_pooler(name)]
    unexpected = [name for name in report["unexpected_keys"] if _belongs(name, model)]
    shapes = [
        f"{name} {list(found)} in place of {list(wanted)}"
        for name, found, wanted in sorted(report["mismatched_keys"])
    ]
    parts = (
        _counted(missing, "missing"),
        _counted(unexpected, "unexpected"),
        _counted(shapes, "of another shape"),
    )
    return ", ".join(part for part in parts if part)


def _belongs(name: str, model: Any) -> bool:
    """Whether an unexpected tensor is of the model's own modules, and not of a head left out."""
    inner = name.removeprefix(f"{model.base_model_prefix}.")
    roots = {child for child, _ in model.named_children()}
    return not _is_pooler(name) and not roots.isdisjoint(
        (name.partition(".")[0], inner.partition(".")[0])
    )


def _is_pooler(name: str) -> bool:
    """A pooler is left out: the model is read at its hidden states."""
    return "pooler" in name.split(".")


def _counted(names: Iterable[str], what: str) -> str:
    """`3 tensors missing (a, b, ...)`."""
    listed = sorted(names)
    if not listed:
        return ""
    more = ", ..." if len(listed) > _SHOWN else ""
    tensors = "tensor" if len(listed) == 1 else "tensors"
    return f"{len(listed)} {tensors} {what} ({', '.join(listed[:_SHOWN])}{more})"


def _not_finite(model: nn.Module) -> str:
    """The first parameter with NaN or infinity, or an empty name; the same on all workers.

    Under ZeRO-3 each worker looks at its own parts.
    """
    parameters = dict(model.named_parameters())
    wrong_P = torch.stack([_has_not_finite(held(p)) for p in parameters.values()])
    if any(hasattr(p, "ds_tensor") for p in parameters.values()):
        torch.distributed.all_reduce(wrong_P, torch.distributed.ReduceOp.MAX)
    names = [name for name, wrong in zip(parameters, wrong_P.tolist(), strict=True) if wrong]
    return names[0] if names else ""


def _has_not_finite(values: Tensor) -> Tensor:
    """1 where there is NaN or infinity, else 0.

    A sum is not finite where one of its values is not, and takes no memory; that of large values
    isn't either.
    """
    wrong = not torch.isfinite(values.sum()) and not torch.isfinite(values).all()
    return torch.tensor(int(wrong), device=values.device)


def _is_of_the_machine(error: Exception) -> bool:
    """Whether memory or disk caused a library's error, and not the model's files."""
    if isinstance(error, RuntimeError):
        return "state_dict" not in str(error)
    return isinstance(error, OSError) and error.errno not in _MISSING
