"""The part of a page that a benchmark writes, between markers of its own; what stands around it is written by hand."""

import re
from pathlib import Path


def markers(name: str) -> tuple[str, str]:
    """The lines around a section.

    >>> markers("gpu")
    ('<!-- gpu -->', '<!-- /gpu -->')
    """
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def write_section(path: Path, name: str, text: str) -> None:
    """Replace what stands between the markers; a file without them, or none, gets them at its end."""
    begin, end = markers(name)
    marked = f"{begin}\n{text}\n{end}"
    page = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if begin in page and end in page:
        page = re.sub(f"{begin}.*?{end}", lambda _: marked, page, flags=re.DOTALL)
    else:
        page = f"{page.rstrip()}\n\n{marked}\n"
    path.write_text(page, encoding="utf-8")


def section_of(page: str, name: str) -> str:
    """What stands between the markers; "" where they are not there."""
    begin, end = markers(name)
    return page.partition(f"{begin}\n")[2].partition(f"\n{end}")[0]
