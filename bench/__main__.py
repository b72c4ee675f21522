"""`python -m bench`: measure, and write the table."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import bacnet, bus, cluster, history, modbus, sites, store, years
from bench.machine import machine
from bench.results import FULL, TINY, Measurement, Met, Result, Scale, table

MEASUREMENTS: dict[str, Measurement] = {
    "store": store.one_insert,
    "append": history.append,
    "size": history.size,
    "reading": history.reading,
    "bus": bus.throughput,
    "delay": bus.delay,
    "modbus": modbus.poll,
    "bacnet": bacnet.poll,
}
LARGE: dict[str, Measurement] = {
    "years": years.two_years,
    "sites": sites.several,
    "thousand": sites.thousand,
}
RESULTS = Path(__file__).parent / "results.md"


def measure(
    only: Annotated[list[str] | None, typer.Option(help="Measure only these.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = FULL.runs,
    large: Annotated[
        bool, typer.Option(help="Also years of samples and several sites, some minutes each.")
    ] = False,
    tiny: Annotated[bool, typer.Option(help="The least of each, to see that it runs.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the table goes.")] = None,
) -> None:
    """Measure what must hold, each beside its raw limit or a peer, and write bench/results.md."""
    known = MEASUREMENTS | LARGE
    chosen = only or [*MEASUREMENTS, *(LARGE if large else ())]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise typer.BadParameter(f"unknown {', '.join(unknown)}; there are {', '.join(known)}")
    scale = TINY if tiny else Scale(runs=runs)
    results: list[Result] = []
    console = Console()
    columns = (TextColumn("{task.description:42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    base = Path(tempfile.mkdtemp(prefix="opencrate-bench-"))
    try:
        with Progress(*columns, console=console) as bars:
            whole = bars.add_task("all", total=len(chosen))
            for name in chosen:
                bar = bars.add_task(name, total=None)

                def tell(done: int, of: int, doing: str, bar: object = bar) -> None:
                    bars.update(bar, completed=done, total=of, description=doing)  # type: ignore[arg-type]

                folder = base / name
                folder.mkdir()
                for result in known[name](folder, scale, tell):
                    result.met = result.met if scale.judged else Met.REPORTED
                    results.append(result)
                    said = f"{result.what}: {result.ours}; {result.peer}; {result.figure}: {result.met}"
                    bars.console.print(said, soft_wrap=True)
                bars.update(bar, completed=1, total=1, description=name)
                bars.advance(whole)
    finally:
        cluster.end()
        shutil.rmtree(base, ignore_errors=True)
    text = table(results, machine(), scale.runs)
    console.print(Markdown(text))
    target = out or (None if only or tiny else RESULTS)
    if target is not None:
        target.write_text(text)
        console.print(f"written to {target}")


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(measure)

if __name__ == "__main__":
    app()
