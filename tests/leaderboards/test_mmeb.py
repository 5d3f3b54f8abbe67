"""The image part of MMEB-V2 in its layout: two tasks made here."""

import pytest

from mmrag import MiniEmbedder
from mmrag.embedders.base import Content
from mmrag.leaderboards.mmeb import GROUPS, evaluate_mmeb
from mmrag.scoring import maxsim
from mmrag.types import Query

WORDS = ["a ferry", "a violin", "a glacier", "an owl"]


@pytest.fixture
def copy(tmp_path, draw):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for number in range(4):
        (tmp_path / "images" / "Ours").mkdir(parents=True, exist_ok=True)
        draw(number).save(tmp_path / "images" / "Ours" / f"{number}.png")
    question = [  # from a picture to a word: no column of instructions or pictures for the candidates
        {
            "qry_inst": "<|image_1|>\nRepresent the image for classification",
            "qry_text": "",
            "qry_img_path": f"Ours/{number}.png",
            "tgt_text": [WORDS[number], *(word for word in WORDS if word != WORDS[number])],
        }
        for number in range(4)
    ]
    retrieval = [  # from words to a picture with a caption
        {
            "qry_inst": "Find a picture for the caption:",
            "qry_text": WORDS[number],
            "qry_img_path": "",
            "tgt_inst": "<|image_1|>\nRepresent the picture",
            "tgt_text": ["<|image_1|>\n" + WORDS[number], "bread", "iron"],
            "tgt_img_path": [f"Ours/{number}.png", "Ours/0.png", "Ours/1.png"],
        }
        for number in range(4)
    ]
    for task, rows in (("Country211", question), ("WebQA", retrieval)):
        (tmp_path / "tasks" / task).mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "tasks" / task / "test-0.parquet")
    return tmp_path


def test_precision_is_that_of_one_query_at_a_time(copy, draw):
    embedder = MiniEmbedder(threads=1)
    report = evaluate_mmeb(embedder, copy / "tasks", copy / "images", batch_size=3)
    assert report.counts == {"Country211": 4, "WebQA": 4}
    assert report.precision["WebQA"] == 1  # the caption is in the right candidate alone
    right = 0
    for number in range(4):
        query = Query(image=draw(number), instruction="Represent the image for classification")
        (rows,) = embedder.encode_query([query])
        words = [WORDS[number], *(word for word in WORDS if word != WORDS[number])]
        scores = [maxsim(rows[None], embedder.encode_document([Content(text=w)])[0][None]) for w in words]
        right += max(scores[1:]) < scores[0]
    assert report.precision["Country211"] == right / 4
    means = report.means()
    assert means["all"] == (1 + right / 4) / 2
    assert set(means) == {"classification", "retrieval", "all"}
    assert str(report).splitlines()[1].split() == ["WebQA", "4", "1.000"]


def test_a_tie_is_no_hit(copy):
    """An embedder that says the same of everything is never right."""
    embedder = MiniEmbedder(threads=1)
    (rows,) = embedder.encode_query(["anything"])
    embedder.encode_document = lambda contents, **options: [rows for _ in contents]
    report = evaluate_mmeb(embedder, copy / "tasks", copy / "images", tasks=["WebQA"])
    assert report.precision == {"WebQA": 0}


def test_what_is_missing_is_told(copy, tmp_path):
    embedder = MiniEmbedder(threads=1)
    with pytest.raises(FileNotFoundError, match=r"MMEB-V2 must have 'NIGHTS' in .*MMEB_Test_Instruct"):
        evaluate_mmeb(embedder, copy / "tasks", copy / "images", tasks=["NIGHTS"])
    (copy / "images" / "Ours" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"the picture .*2\.png, got none\. Fetch image-tasks"):
        evaluate_mmeb(embedder, copy / "tasks", copy / "images")


def test_thirty_six_tasks_in_four_kinds():
    assert [len(tasks) for tasks in GROUPS.values()] == [10, 10, 12, 4]
    assert len({task for tasks in GROUPS.values() for task in tasks}) == 36
