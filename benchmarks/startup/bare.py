"""The smallest typer application with two commands."""

import typer

app = typer.Typer()


@app.command()
def first(name: str) -> None:
    """Do one thing."""


@app.command()
def second(name: str) -> None:
    """Do another."""


if __name__ == "__main__":
    app()
