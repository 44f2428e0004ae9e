"""Tokenizers of models to pretrain: chess is read whole, whatever is played."""

from __future__ import annotations

import random

import chess
import pytest

from w2s_ray.config import SAN_TOKENS, PretrainArchitecture
from w2s_ray.learn.fresh import UNKNOWN, san_tokenizer


@pytest.fixture(scope="module")
def played() -> list[tuple[str, str]]:
    """Positions of games played at random, each with the move made in it."""
    rng, made = random.Random(0), []
    for _ in range(40):
        board = chess.Board()
        while not board.is_game_over() and len(board.move_stack) < 120:
            move = rng.choice(list(board.legal_moves))
            made.append((board.epd(), board.san(move)))
            board.push(move)
    rare = ("O-O", "O-O-O", "O-O-O#", "bxa8=Q+", "h1=N#", "Nbxd7", "R1d4#", "Qh4xe1+")
    return [*made, *((made[-1][0], san) for san in rare)]


def test_every_move_in_every_position_is_known_and_comes_back(played):
    """A move that is one token is unknown where the corpus lacks it, and then answers nothing."""
    tokenizer = san_tokenizer()
    for position, san in played:
        prompt, answer = tokenizer.encode(position), tokenizer.encode(f" {san}")
        assert UNKNOWN not in (*prompt.tokens, *answer.tokens)
        assert tokenizer.encode(f"{position} {san}").ids == prompt.ids + answer.ids
        assert tokenizer.decode(answer.ids) == f" {san}"
        squares = 64 + 7  # and the strokes between ranks
        assert squares + 3 <= len(prompt.ids) <= squares + 7
        assert len(answer.ids) <= 7


def test_a_game_is_read_move_by_move(played):
    tokenizer = san_tokenizer()
    text = " ".join(san for _, san in played[:120])
    found = tokenizer.encode(text)
    assert UNKNOWN not in found.tokens
    assert tokenizer.decode(found.ids) == text


def test_its_tokens_are_counted_in_estimates():
    shape = PretrainArchitecture(width=8, layers=1, heads=2, tokenizer="san")
    assert shape.most_tokens == SAN_TOKENS == san_tokenizer().get_vocab_size()
    assert PretrainArchitecture(width=8, layers=1, heads=2).most_tokens == 8000
