"""roadcue label."""

from pathlib import Path

import click


@click.command("label")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="TCP port to listen on; 0 takes a free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. On any but the loopback, whoever reaches it sees the frames and may answer.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
def command(folder: Path, port: int, host: str, opens: bool) -> None:
    """Answer by keyboard what frames show, in the browser. DIR holds a label table, as `predict --uncertain` makes it.

    The most uncertain frames come first; every answer is in DIR/labels.csv at once. Ctrl-C ends it.
    """
    from service.answer_page.server import serve_answer_page

    serve_answer_page(folder, host, port, click.launch if opens else None)
