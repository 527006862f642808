"""Tables in Markdown, and texts that stand between two marks of a Markdown document."""

from collections.abc import Sequence
from pathlib import Path

from model_training.errors import InvalidConfiguration
from model_training.whole_files import write_whole


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table.

    >>> table(("label", "n"), [("car|bus", "3")])
    ['| label | n |', '|---|---|', '| car&#124;bus | 3 |']
    """
    cells = [[cell.replace("|", "&#124;") for cell in row] for row in (head, *rows)]
    first, *others = [f"| {' | '.join(row)} |" for row in cells]
    return [first, "|" + "---|" * len(head), *others]


def fill_in(document: Path, text: str, mark: str) -> None:
    """Put `text` between `<!-- mark -->` and `<!-- /mark -->`; raises InvalidConfiguration where it has not both."""
    before, after = around(document, mark)
    write_whole(document, f"{before}\n\n{text.strip()}\n\n{after}")


def around(document: Path, mark: str) -> tuple[str, str]:
    """A document up to the end of its first mark, and from its second one on; raises InvalidConfiguration."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, opening, rest = document.read_text(encoding="utf-8").partition(begin)
    _, closing, after = rest.partition(end)
    if not (opening and closing):
        raise InvalidConfiguration(f"{document} must hold {begin} and, behind it, {end}; the figures go between them")
    return before + begin, end + after
