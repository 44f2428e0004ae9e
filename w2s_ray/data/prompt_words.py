"""Whether a model's tokenizer tells the words of a prompt apart, by its tokenizer.json.

Owns the check with the tokenizers library, and its cache. It loads no models, and refuses nothing
for models whose tokenizer file is not on this machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from w2s_ray.config import ModelSource
from w2s_ray.config.stages import alike_words
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.files import stamp
from w2s_ray.data.folders import TOKENIZER, folder_of
from w2s_ray.data.tokenizer_files import open_tokenizer


def check_words(words: Sequence[str], source: ModelSource) -> None:
    """Refuse words that the tokenizer reads alike after a space, as a prompted fit does.

    Raises:
        InputError: names the model and the words.
    """
    folder = folder_of(source)
    path = None if folder is None else folder / TOKENIZER
    if path is None or not path.is_file():
        return
    key = [list(words), list(stamp(path.resolve()))]
    note = read_note("prompt_words", key=key)
    if note is None:
        given = [f" {word.strip()}" for word in words]
        encodings = open_tokenizer(path).encode_batch(given, add_special_tokens=False)
        ids = [tuple(encoding.ids) for encoding in encodings]
        note = {"differ": len(set(ids)) == len(words) and all(ids)}
        write_note("prompt_words", key=key, note=note)
    if not note["differ"]:
        raise alike_words(words, source.name)
