"""Dates, months, quarters and versions in whatever way they are written."""

import datetime
import random

import pytest

from mmrag.index.dates import highest_version, period_end, period_terms, written_dates

MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("paid on 03/08/2017", ["03.08.17"]),
        ("3-8-17", ["03.08.17"]),
        ("8/23/2017", ["23.08.17", "m08.17"]),
        ("2017-08-03", ["03.08.17", "m08.17"]),
        ("3rd August 2017", ["03.08.17", "m08.17"]),
        ("Aug. 3, 2017", ["03.08.17", "m08.17"]),
        ("minutes of May 2025", ["m05.25"]),
        ("2023 Q3", ["q3.23"]),
        ("Q3'23, 3Q23", ["q3.23", "q3.23"]),
        ("the third quarter of 2023", ["q3.23"]),
        ("three months ended September 30, 2023", ["30.09.23", "m09.23", "q3.23"]),
        ("manual v1.0, version 2, Rev. 3.1", ["v1.0", "v2", "v3.1"]),
    ],
)
def test_periods_of_a_document(text, terms):
    assert period_terms(text, query=False) == terms


@pytest.mark.parametrize(
    "text",
    ["section 3.2.1", "1.2.3.4", "12-345-67890", "45/67/2019", "rows 3,4,5", "may 30 people", "v", "24/7"],
)
def test_what_is_no_period(text):
    assert period_terms(text, query=False) == []


def test_a_question_with_the_month_named_is_asked_both_ways():
    assert period_terms("on August 3, 2017", query=True) == ["03.08.17", "08.03.17"]
    assert period_terms("on August 8, 2017", query=True) == ["08.08.17"]
    assert period_terms("on 03/08/2017", query=True) == ["03.08.17"]


def test_every_way_to_write_a_day_meets_the_question():
    draw = random.Random(7)
    for _ in range(200):
        day = datetime.date(2000, 1, 1) + datetime.timedelta(days=draw.randrange(12_000))
        name = MONTHS[day.month - 1]
        question = set(period_terms(f"on {name} {day.day}, {day.year}?", query=True))
        forms = [
            f"{day.day:02}/{day.month:02}/{day.year}",
            f"{day.month}/{day.day}/{day.year}",
            f"{day.day}.{day.month}.{day.year % 100:02}",
            day.isoformat(),
            f"{day.day} {name[:3]} {day.year}",
            f"{name[:3]}. {day.day}, {day.year}",
        ]
        for form in forms:
            assert question & set(period_terms(f"Date: {form}", query=False)), form
            (date,) = written_dates(form)
            assert date.calendar_date() == day or not date.is_certain


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("2023 Q3 AMZN", "2023-09-30"),
        ("Norland 4Q24", "2024-12-31"),
        ("report_20230405", "2023-04-05"),
        ("PG_2020.05.21_final", "2020-05-21"),
        ("minutes 2025-03", "2025-03-31"),
        ("Annual report 2012", "2012-12-31"),
        ("filed 2023-02-03 for 2022", "2023-02-03"),
        ("February 2024", "2024-02-29"),
        ("2303.05039v2", None),
        ("manual", None),
    ],
)
def test_the_last_day_that_a_name_tells(name, end):
    assert period_end(name) == (end and datetime.date.fromisoformat(end))


def test_versions_sort_by_their_numbers():
    names = ["manual v1.2", "manual_v1.10", "Manual version 2.0", "no version"]
    assert sorted(names, key=highest_version) == [names[3], *names[:3]]
