"""A deprecated name warns at its caller's line, with the new name and the release of its end."""

from __future__ import annotations

import doctest
import warnings

import pytest

import mmrag.deprecation
from mmrag.deprecation import warn_renamed


def old_name() -> int:
    warn_renamed("mmrag.old_name", "mmrag.new_name", end="0.3")
    return 3


def test_the_old_name_works_and_its_caller_is_told() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"mmrag\.old_name is now mmrag\.new_name.* mmrag 0\.3"
    ) as told:
        assert old_name() == 3
    assert [warning.filename for warning in told] == [__file__]


def test_a_program_that_allows_no_warning_stops_there() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning, match="Use the new one"):
            old_name()


def test_the_example_is_true() -> None:
    assert doctest.testmod(mmrag.deprecation).failed == 0
