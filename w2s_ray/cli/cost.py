"""`w2s cost`."""

from __future__ import annotations

from w2s_ray.cli.inputs import (
    cells_of,
    load_sweep,
    note_other_overrides,
    open_snapshot,
    output_console,
    plan_of,
    print_looks,
)
from w2s_ray.cli.next_steps import RunArguments
from w2s_ray.cli.options import (
    AcceleratorOption,
    AcceleratorsOption,
    CurrencyOption,
    FormatOption,
    Overrides,
    PriceOption,
    StoreOption,
    SweepFile,
    UtilisationOption,
    check_choice,
)


def cost(
    sweep_file: SweepFile,
    overrides: Overrides = None,
    store: StoreOption = None,
    accelerator: AcceleratorOption = None,
    accelerators: AcceleratorsOption = None,
    utilisation: UtilisationOption = 0.4,
    price_per_hour: PriceOption = None,
    currency: CurrencyOption = None,
    format: FormatOption = "table",
) -> None:
    """Show the cost of a sweep so far beside its estimate, and the cost of each cell."""
    from w2s_ray.cli.cost_options import device_of
    from w2s_ray.cli.cost_view import print_bill
    from w2s_ray.config.budget import read_price
    from w2s_ray.data.input_sizes import InputSizes
    from w2s_ray.plan.estimates import estimate_plan
    from w2s_ray.report.bill import bill
    from w2s_ray.report.speeds import speeds
    from w2s_ray.report.table import table_of
    from w2s_ray.status.spending import SpendingReader

    check_choice(format, ("table", "json"), option="--format")
    device = device_of(accelerator, accelerators, utilisation)
    price = read_price(price_per_hour, currency)
    sweep = load_sweep(sweep_file, overrides)
    results = open_snapshot(store, sweep)
    plan = plan_of(sweep, results)
    done = results.done([*plan.fits, *plan.studies])
    cells = cells_of(results, plan)
    print_looks(results, sweep, command="cost")
    call = RunArguments(sweep_file, overrides or (), store)
    note_other_overrides(call, results, plan, command="cost")
    reader = SpendingReader(results)
    spending = reader.of_plan(plan)
    billed = bill(cells[sweep.name], table_of(cells, results), spending)
    estimate = estimate_plan(plan, InputSizes(plan.inputs), done=done, device=device)
    print_bill(
        billed,
        estimate,
        speeds=speeds(reader.done_records()),
        price=price,
        format=format,
        console=output_console(),
    )
