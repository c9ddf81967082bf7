"""Names and their cases."""

import pytest

from mosaic.utils import camel_case, lowercase, snake_case, uppercase


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SomeName", "some_name"),
        ("some_name", "some_name"),
        ("HTTPServer", "h_t_t_p_server"),
        ("_Private", "__private"),
        ("Some_Name", "some__name"),
        ("some-name", "some_name"),
        ("a.b c", "a_b_c"),
        (None, "none"),
        (5, "5"),
        ("Field2D", "field2_d"),
        ("X", "x"),
        ("", ""),
    ],
)
def test_snake_case(name, expected):
    assert snake_case(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("some_name", "SomeName"),
        ("SomeName", "SomeName"),
        ("vp", "Vp"),
        ("ABC", "ABC"),
        ("a.b c", "ABC"),
        ("some-name", "Some-name"),
        ("field_2d", "Field2d"),
        ("_private", "Private"),
        (".private", "Private"),
        ("__private", "_private"),
        ("a__b", "A_B"),
        ("a_", "A_"),
        ("", ""),
        (None, "None"),
        (5, "5"),
    ],
)
def test_camel_case(name, expected):
    assert camel_case(name) == expected


def test_upper_and_lower_case():
    assert (uppercase("Ab"), lowercase("Ab")) == ("AB", "ab")
    assert (uppercase(None), lowercase(5)) == ("NONE", "5")
