"""Names on their way out: a public name that was replaced works for one more minor release and says so."""

from __future__ import annotations

import warnings


def warn_renamed(old: str, new: str, *, end: str) -> None:
    """Warn whoever calls the caller that a name ends.

    Args:
        old: the name that was used, dotted.
        new: the name to use in its place.
        end: the release in which the old name is gone, such as ``"0.3"``.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn_renamed("mmrag.ask_all", "mmrag.answers", end="0.3")
        >>> str(told[0].message)
        'mmrag.ask_all is now mmrag.answers; the old name ends with mmrag 0.3. Use the new one.'
    """
    message = f"{old} is now {new}; the old name ends with mmrag {end}. Use the new one."
    warnings.warn(message, DeprecationWarning, stacklevel=3)
