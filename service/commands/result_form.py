"""In which form a command writes its result to standard output."""

import sys
from typing import Literal, TypeVar

Form = TypeVar("Form", bound=str)


def result_form(named: Form | None) -> Form | Literal["table", "json"]:
    """The form that was named, else a table on a terminal and JSON in a pipe."""
    return named or ("table" if sys.stdout.isatty() else "json")
