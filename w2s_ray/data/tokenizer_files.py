"""Tokenizer files, opened with the tokenizers library alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from w2s_ray.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a tokenizer.json, which neither pads nor truncates.

    Raises:
        InputError: a file that the library can't read.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise InputError(
            f"{path} can't be read by the tokenizers library: {error}; download it again"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
