"""Chess rows: puzzles as prompts with answers, games as running text, and legality of moves.

Owns the text of positions and moves: a position is the first four fields of its FEN, a move is in
standard algebraic notation, and moves are separated by spaces without numbers. python-chess has the
rules of the game. It reads no files.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from w2s_ray.data.cells import is_missing, number_of
from w2s_ray.data.example import Example, Row
from w2s_ray.data.row_formats import KEY_SEPARATOR
from w2s_ray.errors import InputError

if TYPE_CHECKING:
    import chess

POSITIONS = 20
"""Largest number of positions of a game that become texts."""

_NUMBERS = re.compile(r"\d+\.(\.\.)?\s*")
_GAME = re.compile(r"lichess\.org/(\w{8})")


def puzzle(row: Row, *, id: str) -> list[Example]:
    """A puzzle of the Lichess database: the position after the opponent's move, and the best reply.

    Puzzles of one game, or with a common position, are in one group (see `merge_linked_groups`).
    """
    board, answer = _puzzle_start(row, id)
    before, prompt = _position(row["FEN"]), board.epd()
    return [_example(row, id, prompt, answer, (before, prompt))]


def puzzle_by_moves(row: Row, *, id: str) -> list[Example]:
    """A puzzle with the game's moves (column `Game`) and the opponent's move as the prompt."""
    board, answer = _puzzle_start(row, id)
    played = replay(movetext(row["Game"]))
    if played.epd() != _position(row["FEN"]):
        raise InputError(
            f"{id}: the moves in column 'Game' don't lead to the position in column 'FEN'; write "
            "the moves before the puzzle's first move"
        )
    prompt = f"{movetext(row['Game'])} {_last_san(board)}".strip()
    return [_example(row, id, prompt, answer, (played.epd(), board.epd()))]


def game(row: Row, *, id: str) -> list[Example]:
    """A game's moves as one text."""
    text = movetext(row["moves"])
    return [Example(id, text, 0, text)] if text else []


def positions(row: Row, *, id: str) -> list[Example]:
    """Positions of a game, each with the move that was played, as texts of one group.

    The choice of positions depends only on the game. Positions after an illegal move are omitted.
    """
    import chess

    text = movetext(row["moves"])
    moves = text.split()
    order = sorted(range(len(moves)), key=lambda ply: _hash(f"{ply} {text}"))
    chosen = set(order[:POSITIONS])
    board, examples = chess.Board(), []
    for ply, san in enumerate(moves[: max(chosen, default=-1) + 1]):
        position = board.epd() if ply in chosen else None
        try:
            board.push_san(san)
        except ValueError:
            break
        if position is not None:
            examples.append(Example(f"{id}:{ply}", f"{position} {san}", 0, text))
    return examples


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


def _puzzle_start(row: Row, id: str) -> tuple[chess.Board, str]:
    """The board after the puzzle's first move, and the second move in SAN."""
    import chess

    moves = row["Moves"].split()
    if len(moves) < 2:
        raise InputError(
            f"{id}: column 'Moves' has {row['Moves']!r}; write at least the opponent's move and "
            "the answer"
        )
    try:
        board = chess.Board(row["FEN"])
        board.push_uci(moves[0])
        return board, board.san(board.parse_uci(moves[1]))
    except ValueError as error:
        raise InputError(f"{id}: not a chess puzzle ({error}); correct or remove the row") from None


def _example(row: Row, id: str, prompt: str, answer: str, positions: tuple[str, ...]) -> Example:
    game = row.get("GameId") or _game_of(row.get("GameUrl") or "")
    game_key = (f"game {game}",) if game else ()
    rating, where = row.get("Rating"), f"{id}: column 'Rating'"
    return Example(
        id,
        prompt,
        0,
        KEY_SEPARATOR.join((*game_key, *positions)),
        answer=answer,
        difficulty=None if is_missing(rating) else number_of(rating, where=where),
    )


def _game_of(url: str) -> str | None:
    match = _GAME.search(url)
    return match[1] if match else None


def _position(fen: str) -> str:
    import chess

    return chess.Board(fen).epd()


def _last_san(board: chess.Board) -> str:
    move = board.pop()
    san = board.san(move)
    board.push(move)
    return san


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
