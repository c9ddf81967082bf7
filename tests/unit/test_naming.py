"""Names and their cases."""

import pytest

from mosaic.utils import camel_case, lowercase, snake_case, uppercase


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SomeName", "some_name"),
        ("some_name", "some_name"),
        ("HTTPServer", "http_server"),
        ("_Private", "_private"),
        ("Field2D", "field2_d"),
        ("X", "x"),
        ("", ""),
    ],
)
def test_snake_case(name, expected):
    assert snake_case(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("some_name", "SomeName"), ("SomeName", "SomeName"), ("vp", "Vp")]
)
def test_camel_case(name, expected):
    assert camel_case(name) == expected


def test_upper_and_lower_case():
    assert (uppercase("Ab"), lowercase("Ab")) == ("AB", "ab")
