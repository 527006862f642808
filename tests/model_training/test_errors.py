"""The tree of errors is drawn as it is."""

import re

from model_training import errors


def test_every_class_of_the_tree_is_drawn_in_its_docstring():
    assert errors.__doc__
    drawn = set(re.findall(r"\b[A-Z]\w+", errors.__doc__))
    tree = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {cls.__name__ for cls in tree} <= drawn
