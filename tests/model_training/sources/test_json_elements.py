import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from model_training.sources.json_elements import BrokenJson, Element, elements, first_error

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
documents = st.dictionaries(st.text(max_size=4), scalars | st.lists(scalars | st.dictionaries(st.text(), scalars)))


def read(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(elements(path))


def test_elements_carry_key_index_and_the_line_they_start_in(tmp_path):
    text = '{\n"info": {"year":\n 2017},\n"images": [\n\n  {"id": 1},\n  {"id":\n 2}, {"id": 3}\n], "more": []\n}\n'
    assert read(tmp_path, text) == [
        Element("info", None, 2, {"year": 2017}),
        Element("images", 0, 6, {"id": 1}),
        Element("images", 1, 7, {"id": 2}),
        Element("images", 2, 8, {"id": 3}),
    ]


def test_outermost_array_has_an_empty_key(tmp_path):
    assert read(tmp_path, "[1,\n2]") == [Element("", 0, 1, 1), Element("", 1, 2, 2)]


def test_byte_order_mark_is_passed_over(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf[1]") == [Element("", 0, 1, 1)]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"images": [\n{"id": 1},\n{"id" 2}]}', 3, "':' delimiter"),
        ('{"images": [\n{"id": 1}\n', 3, "Expecting ','"),
        ("[1,\n]", 2, "Expecting value"),
        ("[1\n2]", 2, "Expecting ','"),
        ("[1]\n]", 2, "Extra data"),
        ('{"a": 1,\n}', 2, "Expecting value"),
        ('{"a": 1\n"b": 2}', 2, "Expecting ','"),
        ("{1:\n2}", 1, "Expecting a key"),
        ("\n7", 2, "an object or an array"),
        ("", 1, "an object or an array"),
        ("[\nNaN]", 2, "NaN is no JSON number"),
        (f'{{"images": [\n{{"id": {"1" * 5000}}}]}}', 2, "A number of more digits than are read at column 1"),
    ],
)
def test_file_that_stops_being_json_is_broken_in_that_line(tmp_path, text, line, message):
    with pytest.raises(BrokenJson, match=message) as raised:
        read(tmp_path, text)
    assert raised.value.line == line


def test_other_encodings_are_named(tmp_path):
    with pytest.raises(BrokenJson, match="not UTF-8"):
        read(tmp_path, '["ä"]'.encode("utf-16"))


def test_endless_nesting_is_broken_rather_than_a_crash(tmp_path):
    with pytest.raises(BrokenJson):
        read(tmp_path, "[" * 100_000)


class Counted(BaseModel):
    many: int


def said_of(value):
    with pytest.raises(ValidationError) as raised:
        Counted(many=value)
    return first_error(raised.value).removeprefix("many: input should be a valid integer, not ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"b": [1, 2], "a": {}}, "{'b': [1, 2], 'a': {}}"),
        (["x" * 40, "y"], f"['{'x' * 40}', 'y']"),
        ([1] * 40, f"[{'1, ' * 18}1,..."),
        (["x" * 500], f"['{'x' * 55}..."),
        ({}, "{}"),
    ],
)
def test_error_shows_what_came_or_its_first_57_characters(value, shown):
    assert said_of(value) == shown


def test_error_of_a_value_whose_text_would_fill_the_memory_is_short():
    """Ten times ten ... lists of ten, thirty deep, in 31 objects."""
    value = ["laugh"] * 10
    for _ in range(30):
        value = [value] * 10
    assert said_of(value) == "[[[[...], [...], [...], [...], [...], [...], [...], [...], [.."[:57] + "..."


@given(documents, st.sampled_from([None, 1]))
def test_walk_agrees_with_the_standard_library(tmp_path_factory, document, indent):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(document, indent=indent))
    expected = []
    for key, value in document.items():
        expected += [(key, i, one) for i, one in enumerate(value)] if isinstance(value, list) else [(key, None, value)]
    assert [(element.key, element.index, element.value) for element in elements(path)] == expected
