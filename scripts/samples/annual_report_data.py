"""The numbers of the annual report: 2024, 2023, 2022, in millions of dollars where nothing else is said."""

from __future__ import annotations

SEGMENTS = {
    "Navigation": (412.6, 398.1, 371.4),
    "Environmental Sensing": (287.9, 241.5, 208.7),
    "Software and Services": (143.2, 118.6, 96.3),
}
REGIONS = {
    "Americas": (351.8, 322.7, 296.2),
    "Europe": (268.4, 251.9, 228.8),
    "Asia Pacific": (176.2, 142.3, 115.9),
    "Rest of world": (47.3, 41.3, 35.5),
}
COST_OF_SALES = (462.1, 421.8, 383.0)
RESEARCH = (96.4, 84.2, 71.9)
SELLING = (168.9, 157.3, 146.8)
INTEREST = (7.8, 8.6, 8.1)
TAX = (26.0, 21.1, 16.4)
SHARES = (61.2, 61.5, 61.9)  # millions, diluted
ASSETS = {
    "Cash and cash equivalents": (128.7, 104.2),
    "Trade receivables": (141.9, 133.6),
    "Inventories": (117.3, 124.8),
    "Property, plant and equipment": (203.5, 191.0),
    "Goodwill and intangible assets": (166.4, 171.9),
}
CLAIMS = {
    "Trade payables": (88.2, 84.7),
    "Deferred revenue": (61.5, 49.3),
    "Long-term debt": (140.0, 165.0),
    "Other liabilities": (42.6, 45.1),
    "Shareholders' equity": (425.5, 381.4),
}
SITES = {
    "Port Ellery, Maine (head office)": ("Navigation, research", 1184),
    "Galway, Ireland": ("Environmental Sensing", 742),
    "Busan, South Korea": ("Assembly, repair", 518),
    "Halifax, Nova Scotia": ("Software", 391),
    "Sales and service offices": ("16 countries", 577),
}


def totals(parts: dict[str, tuple[float, ...]]) -> tuple[float, ...]:
    """Sums of the columns, rounded as printed."""
    return tuple(round(sum(column), 1) for column in zip(*parts.values(), strict=True))


def minus(first: tuple[float, ...], *others: tuple[float, ...]) -> tuple[float, ...]:
    """First less the others, column by column."""
    return tuple(round(values[0] - sum(values[1:]), 1) for values in zip(first, *others, strict=True))


NET_SALES = totals(SEGMENTS)
GROSS = minus(NET_SALES, COST_OF_SALES)
OPERATING = minus(GROSS, RESEARCH, SELLING)
BEFORE_TAX = minus(OPERATING, INTEREST)
NET_INCOME = minus(BEFORE_TAX, TAX)
EPS = tuple(round(income / shares, 2) for income, shares in zip(NET_INCOME, SHARES, strict=True))


def money(value: float) -> str:
    """One decimal, as every table prints it."""
    return f"{value:,.1f}"


def change(now: float, before: float) -> str:
    """Growth in per cent with its sign."""
    return f"{(now / before - 1) * 100:+.1f}%".replace("-", "\u2013")
