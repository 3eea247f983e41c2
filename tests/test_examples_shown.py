"""The page on examples shows what they print."""

import pytest
from shown_examples import PAGE, differences, names, printed, shown

SHOWN = shown(PAGE.read_text(encoding="utf-8"))


def test_every_example_is_shown():
    assert sorted(SHOWN) == names()


@pytest.mark.parametrize("name", names())
def test_an_example_prints_what_is_shown(name, tmp_path):
    assert differences(name, SHOWN[name], printed(name, tmp_path)) == []


@pytest.mark.parametrize(
    ("name", "found", "alike"),
    [
        ("sb3_live", "update 3: +0.812 a life, 92%\n", True),
        ("sb3_live", "update 3: +0.912 a life, 80%\n", True),
        ("sb3_live", "update 3: +0.512 a life, 92%\n", False),
        ("sb3_live", "update 3: +0.812 a life, 60%\n", False),
        ("sb3_live", "update 4: +0.812 a life, 92%\n", False),
        ("sb3_live", "epoch 3: +0.812 a life, 92%\n", False),
        ("play_town", "update 3: +0.812 a life, 92%\n", True),
        ("play_town", "update 3: +0.813 a life, 92%\n", False),
    ],
)
def test_words_and_counts_are_held_exactly_and_networks_loosely(name, found, alike):
    expected = "update 3: +0.812 a life, 92%\n"
    assert (differences(name, expected, found) == []) == alike
