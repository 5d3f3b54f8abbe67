"""Laws of the choice: each passage is judged by itself, better ones come first, doubt is told as doubt."""

import random
from dataclasses import replace

import pytest

from mmrag.answer.choice import PAGE, SHORTLIST, choose, confidence, missing_names, overlap, word_shares
from mmrag.answer.passages import Passage, passages_of
from mmrag.answer.question import Question
from mmrag.blocks import Block, Table
from mmrag.embedders.cross_encoder import CrossEncoder
from mmrag.types import Candidate, Record
from tests.answer.conftest import Sheet

QUESTIONS = [
    "Who keeps the list of the wheels?",
    "How many pads does the depot store?",
    "What were net sales in Europe in 2024?",
    "When is the policy valid until?",
    "Which region grew most?",
]


@pytest.fixture(scope="module")
def model():
    return CrossEncoder(threads=1)


def candidates_of(*items):
    records = [
        Record(f"note-{place}", None, item)
        if isinstance(item, str)
        else Record(item.id, None, item.text, {}, item)
        for place, item in enumerate(items)
    ]
    return [Candidate(record, 1.0, place) for place, record in enumerate(records, 1)]


def all_passages(candidates):
    return [
        passage
        for number, candidate in enumerate(candidates)
        for passage in passages_of(candidate, number, candidate.page and candidate.page.blocks)
    ]


def chosen(question, *items, score=None, **options):
    candidates = candidates_of(*items)
    return choose(Question(question), all_passages(candidates), candidates, score, **options)


def test_the_passage_that_answers_comes_first(structured, model):
    pages = [structured[name] for name in ("letter", "second_letter", "form")]
    first = chosen("Who keeps the list of the wheels?", *pages, score=model)[0].passage
    assert first.candidate == 0 and "Novotny keeps the list" in first.text
    first = chosen("How many pads are stored in Hrabova?", *pages, score=model)[0].passage
    assert first.candidate == 1 and "two hundred pads" in first.text
    first = chosen("What is the policy number?", *pages, score=model)[0].passage
    assert first.candidate == 2 and "12-345" in first.text


@pytest.mark.parametrize("question", QUESTIONS)
def test_company_does_not_change_what_the_model_says_of_a_passage(structured, model, question):
    alone = structured["letter"]
    others = [structured[name] for name in ("second_letter", "financial")]
    before = {one.passage.text: one.model for one in chosen(question, alone, score=model, most=99)}
    after = [
        one for one in chosen(question, alone, *others, score=model, most=99) if not one.passage.candidate
    ]
    assert {one.passage.text: pytest.approx(one.model, abs=1e-4) for one in after} == before


@pytest.mark.parametrize("seed", range(30))
def test_what_is_chosen_is_ordered_apart_and_short(drawn_page, seed):
    pages = [replace(drawn_page(seed + 100 * n), id=f"{n}#p0") for n in range(3)]
    noise = random.Random(seed)
    found = chosen(
        "Which falcon lives in the harbor?", *pages, score=lambda _, texts: [noise.gauss(0, 4) for _ in texts]
    )
    scores = [one.score for one in found]
    assert scores == sorted(scores, reverse=True) and len(found) <= SHORTLIST
    pairs = [(a.passage, b.passage) for at, a in enumerate(found) for b in found[:at]]
    assert not any(overlap(*pair) for pair in pairs)
    for a, b in pairs:
        shared = set(range(a.start, a.start + a.size)) & set(range(b.start, b.start + b.size))
        assert (
            a.candidate != b.candidate or 2 * len(shared) <= min(a.size, b.size) or not a.size or not b.size
        )


def test_words_alone_choose_where_there_is_no_model(structured):
    first = chosen(
        "How many pads are stored in the depot in Hrabova?", structured["letter"], structured["second_letter"]
    )[0]
    assert "Hrabova" in first.passage.text and first.model == 0


def test_nothing_is_chosen_from_nothing(structured):
    assert chosen("What?") == []
    assert confidence(Question("What?"), [], []) == 0


@pytest.mark.parametrize("seed", range(20))
def test_confidence_grows_with_the_score_and_stays_within_bounds(structured, seed):
    noise = random.Random(seed)
    candidates = candidates_of(structured["letter"])
    question = Question(noise.choice(QUESTIONS))
    (one, *_) = choose(question, all_passages(candidates), candidates, None)
    scores = sorted(noise.uniform(-60, 60) for _ in range(30))
    sure = [confidence(question, [replace(one, score=score)], candidates) for score in scores]
    assert sure == sorted(sure) and all(0 <= value <= 1 for value in sure)


def test_of_pages_that_look_alike_the_better_one_is_quoted():
    """Two forms say the same; only the search knows which of them the question is about."""
    texts = candidates_of("Net weight: 40 kg", "Net weight: 70 kg")
    question = Question("What is the net weight?")
    for order in (0, 1):
        scored = [replace(one, score=1.0 if at == order else 0.2) for at, one in enumerate(texts)]
        first = choose(question, all_passages(scored), scored, None)[0]
        assert first.passage.candidate == order


@pytest.mark.parametrize("better", [0, 1])
def test_of_two_pages_of_a_document_the_better_one_is_quoted(better):
    """A report says it twice; the page that the search prefers is the one that is cited."""
    pages = [Sheet(number=number).text(60, 80, "Net weight: 40 kg").page() for number in (0, 1)]
    candidates = [
        replace(one, score=1.0 if at == better else 0.2) for at, one in enumerate(candidates_of(*pages))
    ]
    assert candidates[0].document_id == candidates[1].document_id
    first = choose(Question("What is the net weight?"), all_passages(candidates), candidates, None)[0]
    assert first.passage.candidate == better


def test_a_table_that_goes_on_over_a_page_has_one_place():
    """The second half has no header, so the search puts it behind; a row of it is as good."""
    pages = [Sheet(number=number).text(60, 80, "Reservoirs").page() for number in (0, 1)]
    candidates = [replace(one, score=1.0 - at) for at, one in enumerate(candidates_of(*pages))]
    texts = ("Gorse Hill has a capacity of 46 litres", "Ivy Beck: capacity 86 litres")

    def second_score(columns):
        passages = [
            Passage(at, text, block=Block("table", text, table=Table(2, width, ())))
            for at, (text, width) in enumerate(zip(texts, (3, columns), strict=True))
        ]
        scores = choose(Question("What is the capacity of Ivy Beck?"), passages, candidates, None)
        return next(item.score for item in scores if item.passage.candidate == 1)

    assert second_score(3) == pytest.approx(second_score(4) + PAGE)


@pytest.mark.parametrize("kind", ["table", "picture"])
def test_figures_are_looked_for_in_tables_and_pictures_first(kind):
    """Text beside a chart says some of its figures; the chart is what shows them."""
    text = "The brewery repaired 12 kettles."
    (candidate,) = candidates_of(text)
    passages = [Passage(0, text, block=Block(a, text)) for a in ("text", kind)]

    def first(question):
        return choose(Question(question), passages, [candidate], None)[0].passage.block.kind

    assert first("How many kettles did the brewery repair?") == kind
    assert first("Who repaired kettles?") == "text"  # equal passages stay in their order


def test_pages_without_tables_and_pictures_lose_nothing_where_figures_are_asked_for():
    """A letter has no table, and its figures are as sure as its words."""
    text = "The brewery repaired 12 kettles."
    (candidate,) = candidates_of(text)
    question = Question("How many kettles did the brewery repair?")
    plain, table = Passage(0, text, block=Block("text", text)), Passage(0, text, block=Block("table", text))
    (alone,) = choose(question, [plain], [candidate], None)
    scores = {item.passage: item.score for item in choose(question, [plain, table], [candidate], None)}
    assert alone.score == scores[table] > scores[plain]


def test_words_that_stand_on_one_page_weigh_more_than_on_two():
    """Many pages together have most words of any question, so only what one page has says something."""
    question = Question("How many copper kettles were repaired in the brewery?")

    def sure(*texts):
        candidates = candidates_of(*texts)
        (first, *_) = choose(question, all_passages(candidates), candidates, None)
        return confidence(question, [replace(first, score=9.0)], candidates)

    together, apart = (
        ["Nine copper kettles repaired, brewery."],
        ["Nine copper kettles.", "They repaired the brewery."],
    )
    assert sure(*together) > sure(*apart)
    assert sure(*together, *apart) == sure(*together)


def test_a_name_that_no_page_has_lowers_the_confidence(structured):
    candidates = candidates_of(structured["letter"])
    passages = all_passages(candidates)

    def sure(question):
        return confidence(
            Question(question), choose(Question(question), passages, candidates, None), candidates
        )

    assert sure("What does Mr Novotny keep?") > sure("What does Mr Dvorak keep?")
    assert 0 <= sure(" ".join(f"Depot Number {n}, please;" for n in range(2000))) < 0.05


def test_a_name_is_missing_only_if_no_text_has_it():
    texts = candidates_of("Anna\nLindqvist holds 1,200 shares.", "The harbour's gate is shut.")

    def missing(question):
        return missing_names(Question(question), texts)

    assert missing("What does Anna Lindqvist hold?") == []  # across a line's end
    assert missing("What is Lindqvist's share?") == []
    assert missing("Who holds 1200 of them?") == []
    assert missing("Is the Harbour open?") == []
    assert missing("What does Petra Holm hold?") == ["Petra Holm"]
    assert missing("Who held them in 2019?") == ["2019"]


@pytest.mark.parametrize("seed", range(10))
def test_shares_of_words_are_within_bounds_and_whole_where_all_stand(seed):
    noise = random.Random(seed)
    question = Question("How tall is the northern lighthouse on Skerry island?")
    bags = [frozenset(stem for stem in question.stems if noise.random() < 0.5) for _ in range(20)]
    shares = word_shares(question, [*bags, question.stems, frozenset()])
    assert all(0 <= share <= 1 for share in shares)
    assert shares[-2:] == [pytest.approx(1), 0]
    for bag, share in zip(bags, shares, strict=False):  # a passage with more of the words has no less
        for larger, larger_share in zip(bags, shares, strict=False):
            assert not bag <= larger or share <= larger_share + 1e-12


def test_one_word_that_the_page_has_not_does_not_silence_a_passage_that_answers():
    """People ask for a warranty, and the page speaks of a guarantee."""
    candidates = candidates_of("The guarantee of the kettle runs for 36 months.")
    (first, *_) = choose(Question("How long?"), all_passages(candidates), candidates, None)

    def sure(question, score):
        return confidence(Question(question), [replace(first, score=score)], candidates)

    assert sure("How long is the warranty of the kettle?", 18.0) > 0.5
    assert sure("How long is the warranty of the kettle?", 0.0) < 0.5
    assert sure("How long is the guarantee of the kettle?", 0.0) > 0.5
