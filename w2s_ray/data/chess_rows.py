"""Chess: puzzles into prompts and answers, games into running text, and whether a move is legal.

Owns what a model reads of a position and how a move is written: the position as the first four
fields of its FEN, a move in standard algebraic notation, moves separated by spaces and without
numbers. The rules are python-chess's. It knows no files and no models.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from w2s_ray.data.cells import is_missing, number_of
from w2s_ray.data.example import Example, Row
from w2s_ray.data.row_formats import KEYS
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    import chess

POSITIONS = 20
"""Positions of a game that become text, at most."""

_NUMBERS = re.compile(r"\d+\.(\.\.)?\s*")
_GAME = re.compile(r"lichess\.org/(\w{8})")


def puzzle(row: Row, *, id: str) -> list[Example]:
    """A puzzle of the Lichess database: the position after the opponent's move, and the best reply.

    Puzzles of one game, or with a position in common, are tied together (see `linked`).
    """
    board, answer = _opened(row, id)
    before, prompt = _position(row["FEN"]), board.epd()
    return [_example(row, id, prompt, answer, (before, prompt))]


def puzzle_by_moves(row: Row, *, id: str) -> list[Example]:
    """The same with the game's moves as the prompt, the opponent's last: column `Game` has them."""
    board, answer = _opened(row, id)
    played = replay(movetext(row["Game"]))
    if played.epd() != _position(row["FEN"]):
        raise InputError(
            f"{id}: the moves in column 'Game' don't lead to the position in column 'FEN'; write "
            "the moves before the puzzle's first"
        )
    prompt = f"{movetext(row['Game'])} {_last_san(board)}".strip()
    return [_example(row, id, prompt, answer, (played.epd(), board.epd()))]


def game(row: Row, *, id: str) -> list[Example]:
    """A game's moves as one text."""
    text = movetext(row["moves"])
    return [Example(id, text, 0, text)] if text else []


def positions(row: Row, *, id: str) -> list[Example]:
    """Positions of a game, each with the move that was played in it, as texts of one group.

    Which ones depends on the game alone. A game with an illegal move gives those before it.
    """
    import chess

    text = movetext(row["moves"])
    moves = text.split()
    order = sorted(range(len(moves)), key=lambda ply: _rank(f"{ply} {text}"))
    chosen = set(order[:POSITIONS])
    board, made = chess.Board(), []
    for ply, san in enumerate(moves[: max(chosen, default=-1) + 1]):
        position = board.epd() if ply in chosen else None
        try:
            board.push_san(san)
        except ValueError:
            break
        if position is not None:
            made.append(Example(f"{id}:{ply}", f"{position} {san}", 0, text))
    return made


def movetext(moves: str) -> str:
    """Moves in SAN, separated by single spaces, without move numbers."""
    return " ".join(_NUMBERS.sub(" ", moves).split())


def replay(moves: str) -> chess.Board:
    """The position after `moves` of a game.

    Raises:
        InputError: an illegal move.
    """
    import chess

    board = chess.Board()
    for san in moves.split():
        board.push_san(san)
    return board


def is_legal(prompt: str, answer: str) -> bool:
    """Whether `answer` is a legal move, in SAN, in the position or after the moves of `prompt`."""
    import chess

    board = chess.Board(f"{prompt} 0 1") if "/" in prompt else replay(prompt)
    try:
        board.parse_san(answer)
    except ValueError:
        return False
    return True


def _opened(row: Row, id: str) -> tuple[chess.Board, str]:
    """The board after the puzzle's first move, and its second in SAN."""
    import chess

    moves = row["Moves"].split()
    if len(moves) < 2:
        raise InputError(
            f"{id}: column 'Moves' holds {row['Moves']!r}; a puzzle has the opponent's move and "
            "the answer at least"
        )
    try:
        board = chess.Board(row["FEN"])
        board.push_uci(moves[0])
        return board, board.san(board.parse_uci(moves[1]))
    except ValueError as error:
        raise InputError(f"{id}: not a chess puzzle ({error}); correct or drop the row") from None


def _example(row: Row, id: str, prompt: str, answer: str, shared: tuple[str, ...]) -> Example:
    game = row.get("GameId") or _game_of(row.get("GameUrl") or "")
    ties = (f"game {game}",) if game else ()
    rating, where = row.get("Rating"), f"{id}: column 'Rating'"
    return Example(
        id,
        prompt,
        0,
        KEYS.join((*ties, *shared)),
        answer=answer,
        difficulty=None if is_missing(rating) else number_of(rating, where=where),
    )


def _game_of(url: str) -> str | None:
    found = _GAME.search(url)
    return found[1] if found else None


def _position(fen: str) -> str:
    import chess

    return chess.Board(fen).epd()


def _last_san(board: chess.Board) -> str:
    move = board.pop()
    san = board.san(move)
    board.push(move)
    return san


def _rank(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
