"""`python -m bridges.simulator`."""

import typer

from bridges.simulator.cli import simulate

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(simulate)

if __name__ == "__main__":
    app()
