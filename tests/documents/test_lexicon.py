"""Words are told from rubbish by the vocabulary in the wheel."""

import pytest

from mmrag.documents.lexicon import is_known, known_fraction


def test_english_is_known_and_shifted_letters_are_not():
    assert known_fraction("The inspection of the bridge was in March, at 14 places") == (1.0, 10)
    assert known_fraction("Asp wzly lrcppxpye hld dtrypo zy 47 Tlcns 5355")[0] == 0.0


@pytest.mark.parametrize("word", ["Bridge", "BRIDGE", "Brídge"])
def test_case_and_accents_do_not_matter(word):
    assert is_known(word)


def test_numbers_and_single_letters_are_not_counted():
    assert known_fraction("1 a 2 B 33 4.5") == (0.0, 0)
