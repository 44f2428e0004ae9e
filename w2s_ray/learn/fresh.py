"""A model to pretrain: random weights of its architecture, and a tokenizer made of the corpus.

Owns both, as a folder in the pretrained format. The same corpus, architecture and seed give the
same folder. Training is handled elsewhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from w2s_ray.config import SAN_TOKENS, PretrainArchitecture
from w2s_ray.learn.loading import no_progress_bars

PAD, UNKNOWN, END = "[pad]", "[unk]", "[end]"
_SPECIAL = [PAD, UNKNOWN, END]
_BOARD = "pnbrqkPNBRQK./"
_IN_POSITION = rf"(?=[{_BOARD}1-8]* [wb] )"
"""What follows a character of a position's first field, and of nothing else in a game."""
_CASTLING = [
    "".join(side for side, may in zip("KQkq", mask, strict=True) if may)
    for mask in product((True, False), repeat=4)
]
_FIELDS = [" w", " b", " -", *(f" {sides}" for sides in _CASTLING if sides)]
"""A position's other fields: who moves, who may castle where, the square of a capture in passing
(a square like any other)."""
_SQUARES = [f"{file}{rank}" for file in "abcdefgh" for rank in "12345678"]
_BEGIN = [*"KQRBN", *_SQUARES, *"abcdefgh", "O-O-O", "O-O"]
"""Parts that a move may begin with."""
_PARTS = [*(p for p in _BEGIN if p not in _BOARD), *"12345678", "x", "+", "#"]
_PARTS += [f"={piece}" for piece in "QRBN"]
_SAN = (
    rf"[{_BOARD}]{_IN_POSITION}| (?:[wb]|[KQkq]{{1,4}})(?= )| -| ?O-O-O| ?O-O| ?[KQRBN]"
    r"| ?[a-h][1-8]|=[QRBN]| ?[a-h]|[1-8]|x|\+|#"
)


def fresh_model(
    architecture: PretrainArchitecture, texts: Sequence[str], *, seed: int, folder: Path
) -> Path:
    """`folder` with the model and its tokenizer, made unless it is there; whole or not at all."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fresh-"))
    tokenizer = train_tokenizer(architecture, texts)
    tokenizer.save_pretrained(made)
    with no_progress_bars():
        _model(architecture, len(tokenizer), seed=seed).save_pretrained(made)
    try:
        os.rename(made, folder)
    except OSError:  # another process made it meanwhile
        shutil.rmtree(made, ignore_errors=True)
    return folder


def train_tokenizer(architecture: PretrainArchitecture, texts: Sequence[str]) -> Any:
    """The tokenizer that `architecture` names, of the texts' most frequent tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if architecture.tokenizer == "san":
        return _pretrained(san_tokenizer(), architecture)
    common: dict[str, Any] = {
        "vocab_size": architecture.vocabulary,
        "special_tokens": _SPECIAL,
        "show_progress": False,
    }
    if architecture.tokenizer == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=None))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(initial_alphabet=alphabet, **common)
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(**common)
    tokenizer.train_from_iterator(texts, trainer)
    return _pretrained(tokenizer, architecture)


def san_tokenizer() -> Any:
    """Chess: moves by their parts, positions square by square; a part says where a word begins."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    known = [*_SPECIAL, *_BOARD, *_FIELDS, *_PARTS, *(f" {part}" for part in _BEGIN)]
    tokens = {token: i for i, token in enumerate(dict.fromkeys(known))}
    assert len(tokens) == SAN_TOKENS
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(f"{n}{_IN_POSITION}"), "." * n) for n in range(1, 9)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_SAN), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _pretrained(tokenizer: Any, architecture: PretrainArchitecture) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        model_max_length=architecture.context,
    )


def _model(architecture: PretrainArchitecture, vocabulary: int, *, seed: int) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 2}
    config = AutoConfig.for_model(**architecture.config(vocabulary), **ids)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config)
