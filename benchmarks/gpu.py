"""Speed, memory and parity of w2s_ray on one GPU, in sections of at most 90 s on an H100.

    python -m benchmarks.gpu --sections throughput --shapes gpt2-124m

Prints one JSON line for each measurement, with the device's name. Each section imports only
what it needs: all but `sharded` and `sweep` run without Ray and DeepSpeed. `--toy` runs the same
code on a CPU at toy sizes. Models have random weights; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.on_gpu.measure import Options

SECTIONS = (
    "throughput",
    "evaluation",
    "language",
    "memory",
    "parity",
    "profile",
    "sharded",
    "sweep",
)


def main() -> int:
    """Run the chosen sections."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sections", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--shapes", nargs="*", help="models or cases of a section; default: all")
    parser.add_argument(
        "--who", dest="contestants", nargs="*", help="contestants of throughput; default: all"
    )
    parser.add_argument("--seconds", type=float, help="of one measurement at most")
    parser.add_argument("--rounds", type=int, default=1, help="turns of the contestants")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on the CPU")
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if arguments.toy:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    from benchmarks.on_gpu.measure import Options

    on_gpu = torch.cuda.is_available()
    if not on_gpu and not arguments.toy:
        print("there is no GPU; --toy runs at toy sizes on the CPU", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="w2s-gpu-") as folder:
        options = Options(
            seconds=arguments.seconds or (20.0 if arguments.toy else 12.0),
            toy=arguments.toy,
            rounds=arguments.rounds,
            folder=Path(folder),
            shapes=arguments.shapes,
            contestants=arguments.contestants,
            device=torch.device("cuda" if on_gpu else "cpu"),
        )
        failed = [section for section in arguments.sections if not _ran(section, options)]
    return 1 if failed else 0


def _ran(section: str, options: Options) -> bool:
    """Run a section; whether it succeeded. Later sections run in any case."""
    try:
        importlib.import_module(f"benchmarks.on_gpu.{section}").run(options)
    except Exception as error:  # noqa: BLE001 - later sections run in any case
        traceback.print_exc()
        options.emit(section, error=f"{type(error).__name__}: {error}"[:300])
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
