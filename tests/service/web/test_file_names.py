"""The name of a frame, as a client gives it."""

import pytest

from service.web.file_names import file_name


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, "frame"),
        ("form-data", "frame"),
        ('form-data; filename="a.jpg"', "a.jpg"),
        ("form-data; filename=a.jpg", "a.jpg"),
        ('form-data; filename="../../etc/passwd"', "passwd"),
        ('form-data; filename="C:\\\\fakepath\\\\a.jpg"', "a.jpg"),
        ('form-data; filename="/"', "frame"),
        ('form-data; filename="straße 1.jpg"', "straße 1.jpg"),
        ('form-data; filename="say %22hi%22.jpg"', 'say "hi".jpg'),
        ('form-data; filename="say \\"hi\\".jpg"', 'say "hi".jpg'),
        ('form-data; filename="a\x00b\x1b[31m\u202e.jpg"', "ab[31m.jpg"),
        ("form-data; filename=\"plain.jpg\"; filename*=UTF-8''stra%C3%9Fe.jpg", "straße.jpg"),
        ("form-data; filename*=UTF-8''..%2F..%2Fa.jpg", "a.jpg"),
        ("form-data; filename*=unknown-charset''a%FF.jpg", "frame"),
        ("form-data; filename=plain.jpg; filename*=unknown-charset''a%20.jpg", "plain.jpg"),
        ("form-data; filename*=ISO-8859-1''stra%DFe.jpg", "straße.jpg"),
        ("form-data; filename*=idna''a%41.jpg", "frame"),
        ("form-data; filename*=punycode''a%FF.jpg", "frame"),
        ("form-data; filename=plain.jpg; filename*=undefined''a%20.jpg", "plain.jpg"),
        ("form-data; filename*=UTF-8''a%FF.jpg", "a\ufffd.jpg"),
        (f'form-data; filename="{"x" * 1000}"', "x" * 255),
    ],
)
def test_file_name_is_bare_and_printable(disposition: str | None, name: str) -> None:
    assert file_name(disposition) == name
