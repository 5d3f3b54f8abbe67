"""Layers that look wrong, and which text of a page is taken."""

from __future__ import annotations

import random
import re

import pytest

from mmrag.documents.ocr.layer_quality import agreement, looks_poor, ocr_is_better, readable_fraction
from mmrag.documents.ocr.text_choice import INK, SPARSE, OcrDiedError, TextChooser
from mmrag.documents.pool import WorkerDiedError
from mmrag.types import Word

ENGLISH = (
    "The loan agreement was signed on 14 March 2022. The interest rate of the loan is 4.75 percent a year. "
    "The lender may end the loan with ninety days notice."
)
GERMAN = (
    "Die Schleusenmauer beträgt 4,85 Meter. Die Prüfung fand am 7. März statt. Die Übergabe an die Behörde "
    "erfolgt im Frühjahr. Der Schlüssel liegt beim Hausmeister."
)
RUSSIAN = (
    "Договор займа был подписан в марте. Процентная ставка составляет пять процентов годовых и выше того."
)
SHIFTED = "".join(chr(ord(c) + 1) if c.isalpha() and c.lower() != "z" else c for c in ENGLISH)
SPACED = " ".join(ENGLISH.replace(" ", ""))


@pytest.fixture(autouse=True)
def _ocr_is_there(monkeypatch):
    monkeypatch.setattr("mmrag.documents.ocr.text_choice.ocr_is_installed", lambda: True)


@pytest.mark.parametrize(
    ("text", "poor"),
    [
        (ENGLISH, False),
        (GERMAN, True),
        (SHIFTED, True),
        (SPACED, True),
        (RUSSIAN, False),
        ("北山ダム年次報告 " * 20, False),
        ("WX-22 XK-4711", False),  # too little to tell
        ("1,450 2,300 99.5 " * 20, False),
    ],
)
def test_what_is_worth_a_comparison(text, poor):
    assert looks_poor(text) is poor


def test_known_words_with_marks_between_are_known():
    assert readable_fraction("The mother-in-law's house, and/or a car.") == (1.0, 6)


def test_agreement_is_of_words_in_any_order():
    assert agreement(GERMAN, " ".join(reversed(GERMAN.split()))) == 1.0
    assert agreement("Prüfung März", "prufung marz") == 1.0
    assert agreement(SHIFTED, ENGLISH) < 0.2
    assert agreement("", ENGLISH) == 0.0
    randomness = random.Random(9)
    words = GERMAN.split()
    for _ in range(20):
        kept = randomness.sample(words, len(words) - 4)
        assert 0.7 < agreement(GERMAN, " ".join(kept)) < 1.0


def test_agreement_decides_and_not_the_vocabulary():
    assert ocr_is_better(SHIFTED, ENGLISH, 0.99)
    assert ocr_is_better(SPACED, ENGLISH, 0.99)
    assert not ocr_is_better(SHIFTED, ENGLISH, 0.7)  # OCR is not sure
    assert not ocr_is_better(GERMAN, GERMAN.replace("ü", "u"), 0.99)
    vietnamese = "Đập được xây dựng năm 1968. Chiều cao của tường là 85 mét. Nước hồ rất trong."
    assert not ocr_is_better(vietnamese, re.sub("[ậợựềủướấ]", "", vietnamese), 0.99)  # letters OCR has not
    assert not ocr_is_better(GERMAN, "xvq jjk wpt " * 9, 0.99)  # OCR reads nothing that is known


# ---- the choice ----


def blocks_of(text: str, confidence: float | None = None, y: float = 0.1):
    """One block of one line."""
    return [
        [
            [
                Word(piece, (0.01 * index, y, 0.01 * index + 0.009, y + 0.02), None, confidence)
                for index, piece in enumerate(text.split())
            ]
        ]
    ]


class Ocr:
    """Gives one text and keeps what it was asked for."""

    def __init__(self, text: str, confidence: float = 0.99, y: float = 0.5, noise: int = 0, unread: int = 0):
        plain = [
            [[(word.text, word.box, word.tail, word.confidence) for word in line] for line in block]
            for block in blocks_of(text, confidence, y)
            if text
        ]
        self.reply = {
            "ok": True,
            "blocks": plain,
            "noise_lines": noise,
            "unread_lines": unread,
            "foreign_lines": 0,
        }
        self.asked = []

    def __call__(self, regions, known_boxes):
        self.asked.append((regions, known_boxes))
        return self.reply


def text_of(choice) -> str:
    """The text of a choice on one line."""
    return " ".join(word.text for block in choice.blocks for line in block for word in line)


WHOLE = ((0.0, 0.0, 1.0, 1.0),)


def test_a_good_layer_costs_no_ocr():
    ocr = Ocr("never")
    choice = TextChooser("auto").choose("a", blocks_of(ENGLISH), (), ocr)
    assert (text_of(choice), choice.text_source, choice.notes, ocr.asked) == (ENGLISH, "layer", (), [])


def test_text_in_pictures_is_added_and_the_layer_stays():
    ocr = Ocr("rail 15.1")
    region = ((0.0, 0.4, 1.0, 0.6),)
    choice = TextChooser("auto").choose("a", blocks_of(ENGLISH), region, ocr)
    assert text_of(choice) == f"{ENGLISH} rail 15.1"
    assert (choice.text_source, choice.notes) == ("both", (f"{INK}, OCR used",))
    assert ocr.asked[0][0] == region
    assert len(ocr.asked[0][1]) == len(ENGLISH.split())


def test_a_short_exact_layer_is_never_thrown_away():
    layer = blocks_of("Ash -35 Beech -8")
    ocr = Ocr("Ash 35 Beech 1", y=0.1)
    choice = TextChooser("auto").choose("a", layer, WHOLE, ocr)
    assert (text_of(choice), choice.text_source) == ("Ash -35 Beech -8", "layer")
    added = TextChooser("auto").choose("a", layer, WHOLE, Ocr("Change in trees"))
    assert (text_of(added), added.notes) == ("Ash -35 Beech -8 Change in trees", (f"{SPARSE}, OCR used",))


def test_a_wrong_layer_is_replaced_and_the_note_says_why():
    choice = TextChooser("auto").choose("a", blocks_of(SHIFTED), (), Ocr(ENGLISH))
    assert (text_of(choice), choice.text_source) == (ENGLISH, "ocr")
    assert "of its words are known" in choice.notes[0] and choice.notes[0].endswith("OCR used")


def test_a_layer_of_another_language_stays_and_is_compared_on_two_pages():
    chooser = TextChooser("auto")
    ocr = Ocr(GERMAN.replace("ß", "B"))
    for _ in range(300):
        choice = chooser.choose("german", blocks_of(GERMAN), (), ocr)
        assert (text_of(choice), choice.text_source) == (GERMAN, "layer")
    assert len(ocr.asked) == 2
    wrong = chooser.choose("german", blocks_of(SHIFTED), (), Ocr(ENGLISH))  # a page unlike the others
    assert wrong.text_source == "ocr"
    chooser.choose("another document", blocks_of(GERMAN), (), ocr)
    assert len(ocr.asked) == 3


def test_where_ocr_cannot_tell_the_layer_stays_and_few_pages_are_compared():
    chooser = TextChooser("auto")
    ocr = Ocr("xvq jjk wpt " * 9, confidence=0.6)
    sources = {chooser.choose("a", blocks_of(GERMAN), (), ocr).text_source for _ in range(20)}
    assert (sources, len(ocr.asked)) == ({"layer"}, 4)


def test_an_unsure_reading_says_so():
    ocr = Ocr("blurred words", confidence=0.61, noise=2, unread=1)
    choice = TextChooser("auto").choose("a", [], WHOLE, ocr)
    assert choice.notes == (
        "no text layer, OCR used",
        "OCR is unsure of this page (confidence 0.61)",
        "left out what OCR cannot read (2 lines)",
        "OCR ran out of time, text is missing (1 line)",
    )


def test_off_and_force():
    never = Ocr("never")
    assert TextChooser("off").choose("a", blocks_of(SHIFTED), WHOLE, never).text_source == "layer"
    assert never.asked == []
    forced = TextChooser("force").choose("a", blocks_of(ENGLISH), (), Ocr("short"))
    assert (text_of(forced), forced.text_source) == ("short", "ocr")
    nothing = TextChooser("force").choose("a", blocks_of(ENGLISH), (), Ocr(""))
    assert (text_of(nothing), nothing.text_source) == (ENGLISH, "layer")


def test_ocr_that_dies_leaves_the_layer():
    def dies(regions, known_boxes):
        raise WorkerDiedError("took more than 3 s")

    with pytest.raises(OcrDiedError) as caught:
        TextChooser("auto").choose("a", blocks_of(ENGLISH), WHOLE, dies)
    assert (text_of(caught.value.choice), caught.value.choice.text_source) == (ENGLISH, "unread")
    assert caught.value.choice.notes == (f"{INK}, and OCR took more than 3 s",)


def test_without_the_extra_a_layer_stays_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("mmrag.documents.ocr.text_choice.ocr_is_installed", lambda: False)
    choice = TextChooser("auto").choose("a", blocks_of(ENGLISH), WHOLE, Ocr("never"))
    assert (text_of(choice), choice.text_source) == (ENGLISH, "layer")
    assert choice.notes == (f"{INK}, and OCR is not installed: pip install 'mmrag[ocr]'",)
