"""Fewer and faster kernels for a model on a GPU, with the same arithmetic up to rounding.

Owns what is replaced in a model of transformers: activations and norms that are written as many
small operations get torch's single kernels, checks of values that make the CPU wait for the GPU are
skipped, and repeated layers are compiled, for later processes too. On a CPU none of it is used by
default, so that numbers there stay as they are to the bit. Engines and data are handled elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

COMPILED_FROM = 2e16
"""Operations of training from which `compile: auto` compiles: about two minutes of an H100."""
COMPILED_CODE = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that names the folder of compiled code."""
TORCHS_OWN = "torchinductor_"
"""What the name of torch's default folder begins with."""
RECOMPILATIONS = 64
"""Versions of a layer that a process may hold: by model, shape and whether gradients are on."""
PLAIN_RMS_NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"})
"""Classes of transformers that compute x / rms(x) * weight, in fp32, and nothing else."""


class RMSNorm(nn.Module):
    """x / rms(x) * weight in one kernel."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = weight, eps

    def forward(self, hidden: Tensor) -> Tensor:
        return nn.functional.rms_norm(hidden, self.weight.shape, self.weight, self.variance_epsilon)


def prepare_for_gpu(model: nn.Module) -> None:
    """All of this but compiling.

    cuDNN's attention is left out, since it makes a plan for every new shape. On an H200 a fit's
    first steps took 197 ms each before this preparation and 39 ms after it (benchmarks/README.md).
    """
    use_fused_kernels(model)
    never_wait(model)
    torch.backends.cuda.enable_cudnn_sdp(False)


def use_fused_kernels(model: nn.Module) -> None:
    """Replace activations and norms of `model` for which torch has a kernel; names stay."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            kind = type(child).__name__
            if kind == "NewGELUActivation":
                setattr(module, name, nn.GELU(approximate="tanh"))
            elif kind in PLAIN_RMS_NORMS:
                norm: Any = child
                setattr(module, name, RMSNorm(norm.weight, norm.variance_epsilon))


def never_wait(backbone: nn.Module) -> None:
    """Skip the checks of ids and positions in transformers, each of which waits for the GPU.

    They warn of padding without a mask, which a causal model needs none for, and find several
    sequences in a row of position ids, which our rows never have.
    """
    from transformers import masking_utils

    for module in backbone.modules():
        if hasattr(module, "warn_if_padding_and_no_attention_mask"):
            quiet: Any = module
            quiet.warn_if_padding_and_no_attention_mask = _nothing
    if hasattr(masking_utils, "find_packed_sequence_indices"):
        masking_utils.find_packed_sequence_indices = _nothing


def _nothing(*_: Any, **__: Any) -> None:
    return None


def compile_layers(backbone: nn.Module, *, backend: Any = "inductor", graphs: bool = False) -> int:
    """Compile every repeated layer of `backbone`, each version once for all layers; how many.

    The second length that is seen makes lengths a variable of the compiled code. With `graphs` the
    launches of a layer on a GPU are recorded once for each shape, as CUDA graphs; every pass with
    gradients must then begin with `torch.compiler.cudagraph_mark_step_begin()`.
    """
    import torch._dynamo

    config: Any = torch._dynamo.config
    mode = {"mode": "reduce-overhead"} if graphs else {}
    config.recompile_limit = max(config.recompile_limit, RECOMPILATIONS)
    layers = repeated_layers(backbone)
    for layer in layers:
        layer.compile(backend=backend, **mode)
    return len(layers)


def keep_compiled_code(folder: Path) -> None:
    """Keep what this process compiles in `folder`, unless the user names a folder for it.

    torch's own default is a folder in /tmp, which it writes to the variable when it is imported.
    Entries are named by all that the code depends on (torch, device, model, shapes). They hold
    pickles and machine code, so only this user may be able to write to the folder.
    """
    if Path(os.environ.get(COMPILED_CODE, TORCHS_OWN)).name.startswith(TORCHS_OWN):
        os.environ[COMPILED_CODE] = str(folder)


def repeated_layers(backbone: nn.Module) -> list[nn.Module]:
    """The layers of the longest list of equal ones; none where there is no such list."""
    lists = [
        list(module)
        for module in backbone.modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    return max(lists, key=len, default=[])
