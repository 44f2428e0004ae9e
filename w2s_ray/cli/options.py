"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from w2s_ray.cli.completion import complete_override, complete_sweep_file
from w2s_ray.errors import InputError

Choice = TypeVar("Choice", bound=str)

TABLE_FORMATS = ("table", "markdown", "csv", "json", "latex")

SweepFile = Annotated[
    Path,
    typer.Argument(
        help="The sweep file (YAML).", show_default=False, autocompletion=complete_sweep_file
    ),
]
OptionalSweepFile = Annotated[
    Path | None,
    typer.Argument(
        help="The sweep file; or give --store.",
        show_default=False,
        autocompletion=complete_sweep_file,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Values in place of the file's, such as training.lr=1e-3 'seeds=[0,1,2]'.",
        metavar="[KEY=VALUE]...",
        show_default=False,
        autocompletion=complete_override,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(help="Folder or URI of the results; default: the sweep file's `store`."),
]
FormatOption = Annotated[str, typer.Option(help="table or json.", metavar="FORMAT")]
TableFormatOption = Annotated[
    str, typer.Option(help="table, markdown, csv, json or latex.", metavar="FORMAT")
]
NoTextsOption = Annotated[
    bool, typer.Option("--no-texts", help="Leave out texts of the tasks' rows (private data).")
]
OverTasksOption = Annotated[
    bool,
    typer.Option(
        "--over-tasks",
        help="Intervals for new tasks: tasks are resampled, and not seeds and test rows.",
    ),
]
AcceleratorOption = Annotated[
    str | None,
    typer.Option(help="The accelerator of fits: H100, A100-80G, L4, ...", show_default=False),
]
AcceleratorsOption = Annotated[
    Path | None, typer.Option(help="A file with more accelerators.", show_default=False)
]
UtilisationOption = Annotated[
    float, typer.Option(help="Share of the accelerator's peak that fits reach.")
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        help="Price of one device hour, with --currency.",
        metavar="NUMBER",
        show_default=False,
    ),
]
CurrencyOption = Annotated[
    str | None, typer.Option(help="Currency of the price: USD, EUR, ...", show_default=False)
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        help="Start no new fits once the sweep has spent this: '12 device-hours', or '50 USD' with "
        "--price-per-hour and --currency.",
        show_default=False,
    ),
]


def check_choice(value: str, choices: Sequence[Choice], *, option: str) -> Choice:
    """`value` as one of `choices`.

    Raises:
        InputError: it is not one of them.
    """
    for choice in choices:
        if choice == value:
            return choice
    raise InputError(f"{option} is {value!r}; choose one of {', '.join(choices)}")
