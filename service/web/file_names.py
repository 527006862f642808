"""What a client calls a frame: the file name in its Content-Disposition header."""

import re
from typing import Final
from urllib.parse import unquote

from multipart import content_disposition_unquote, parse_options_header

DEFAULT_NAME: Final = "frame"
# The longest file name that common file systems hold.
MAX_NAME_LENGTH: Final = 255
# RFC 8187 names these. Python knows more, of which some raise errors of their own or are no charsets at all.
CHARSETS: Final = ("utf-8", "iso-8859-1")
EXTENDED_NAME: Final = re.compile(
    r"filename\*\s*=\s*(?P<charset>[\w-]+)'[^']*'(?P<value>[^;\s]+)", re.ASCII | re.IGNORECASE
)


def file_name(disposition: str | None, default: str = DEFAULT_NAME) -> str:
    """The bare file name of a Content-Disposition header, without folders and control characters.

    >>> file_name('form-data; name="file"; filename="../../a b.jpg"')
    'a b.jpg'
    >>> file_name("attachment; filename*=UTF-8''stra%C3%9Fe.jpg")
    'straße.jpg'
    """
    given = _extended_name(disposition) or _plain_name(disposition) if disposition else ""
    bare = given.replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in bare if character.isprintable()).strip()
    return printable[:MAX_NAME_LENGTH] or default


def _plain_name(disposition: str) -> str:
    _, options = parse_options_header(disposition, unquote=content_disposition_unquote)
    return str(options.get("filename", ""))


def _extended_name(disposition: str) -> str:
    """`filename*` of RFC 8187; browsers do not send it in forms, several HTTP libraries do."""
    found = EXTENDED_NAME.search(disposition)
    if found is None or found["charset"].lower() not in CHARSETS:
        return ""
    return unquote(found["value"], encoding=found["charset"])


def as_utf8(header: str | None) -> str | None:
    """A header as UTF-8 where its bytes are; HTTP hands headers over as Latin-1."""
    try:
        return header.encode("latin-1").decode() if header else header
    except UnicodeDecodeError:
        return header
