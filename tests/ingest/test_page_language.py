# ruff: noqa: RUF001  (letters of other scripts are meant)
"""Pages say their language where it is plain, in every home of an index; filters find them by it."""

from __future__ import annotations

import random

import pytest

from mmrag import DocumentQA, ReaderSettings
from mmrag.index import MemoryIndex
from mmrag.index.qdrant import QdrantIndex
from mmrag.ingest.page_language import page_language

PAGES = {
    "en": "The annual report of the company shows that net sales were higher than in the year before.",
    "de": "Der Bericht zeigt, dass der Umsatz im Jahr gestiegen ist, und die Kosten sind nicht höher.",
    "fr": "Le rapport de la société montre que les ventes ont été plus élevées que dans les années passées.",
    "es": "El informe de la empresa muestra que las ventas fueron más altas que en el año anterior.",
    "pt": "O relatório da empresa mostra que as vendas foram mais altas, e não há dúvidas sobre os custos.",
    "it": "La relazione della società mostra che le vendite sono state alte, e non si vede il porto.",
    "nl": "Het verslag laat zien dat de omzet hoger is, en de kosten werden niet door de bank betaald.",
    "da": "Rapporten viser, at salget var højere. Det er en stigning, og prisen er ikke steget meget.",
    "no": "Rapporten viser at salget var høyere. Det er en økning, og prisen har ikke steget mye.",
    "cs": "Zpráva ukazuje, že tržby byly vyšší. Náklady se nezvýšily a výsledek je lepší podle plánu.",
    "ca": "L'informe de l'empresa mostra que les vendes van ser més altes, i també per als veïns.",
    "ru": "Отчёт показывает, что продажи были выше, чем в прошлом году. Это хороший результат.",
    "uk": "Звіт показує, що продажі були вищими, ніж у минулому році. Це її добрий результат.",
    "bg": "Отчетът показва, че пазарът расте, а резултатът е по-добър от миналата година.",
    "el": "Η έκθεση δείχνει ότι οι πωλήσεις ήταν υψηλότερες.",
    "ar": "يظهر التقرير السنوي أن المبيعات كانت أعلى مما كانت عليه في السنة السابقة.",
    "fa": "گزارش سالانه نشان می‌دهد که فروش بالاتر از سال قبل بود.",
    "hi": "वार्षिक रिपोर्ट में दिखाया गया है कि बिक्री अधिक है और लाभ में वृद्धि है।",
    "he": "הדוח השנתי מראה שהמכירות היו גבוהות יותר.",
    "th": "รายงานประจำปีแสดงว่ายอดขายสูงกว่าปีก่อน",
    "zh": "年度报告显示，销售额高于上一年。",
    "ja": "年次報告書によると、売上高は前年を上回った。",
    "ko": "연례 보고서에 따르면 매출이 전년보다 높았다.",
}
DRAWN = ("en", "de", "ru", "el", "zh", "ja")
"""Six scripts, two of them Latin, that the fonts within MuPDF can write."""


@pytest.mark.parametrize(("language", "text"), PAGES.items())
def test_a_page_says_its_language(language: str, text: str) -> None:
    assert page_language(text) == language
    assert page_language(text.upper()) == language  # a heading
    assert page_language(f"2024 | 12.5 % | ABC-7\n{text}\n[1] (3) 4") == language


@pytest.mark.parametrize(
    "text",
    ["", "2024 12.5 %", "Total 24 36\nNet sales 12\nEurope 3 Asia 4", "Bremen Hamburg Antwerp", "the of",
     "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore"],
)  # fmt: skip
def test_what_is_not_plain_has_no_language(text: str) -> None:
    assert page_language(text) is None


@pytest.mark.parametrize("seed", range(20))
def test_order_and_number_of_sentences_change_no_language(seed: int) -> None:
    """Words of one language in any order are that language, and half of two is none or one of them."""
    rng = random.Random(seed)
    first, second = rng.sample([code for code in PAGES if code not in ("bg", "uk", "ja")], 2)
    words = PAGES[first].split() * rng.randint(1, 30)
    rng.shuffle(words)
    assert page_language(" ".join(words)) == first
    assert page_language(f"{PAGES[first]} {PAGES[second]}") in (first, second, None)


TEXT_ALONE = ReaderSettings(ocr="off", workers=1)


@pytest.fixture(params=["memory", "folder", "postgres", "qdrant-local"])
def qa(request, embedder, tmp_path):
    options = {"embedder": embedder, "reader": TEXT_ALONE}
    if request.param == "folder":
        made = DocumentQA.open(tmp_path / "index", **options)
    elif request.param == "postgres":
        made = DocumentQA.open(request.getfixturevalue("schema_url"), **options)
    elif request.param == "memory":
        made = DocumentQA(MemoryIndex.for_embedder(embedder), **options)
    else:
        pytest.importorskip("qdrant_client", reason="needs the extra 'qdrant'")
        made = DocumentQA(QdrantIndex.open(embedder), **options)
    yield made
    made.close()


@pytest.fixture
def pages(tmp_path):
    """A PDF with one page in each of six languages and one of numbers."""
    import pymupdf

    path, document = tmp_path / "pages.pdf", pymupdf.open()
    for text in [*(PAGES[code] for code in DRAWN), "2024 12.5 % 77"]:
        page = document.new_page()
        page.insert_htmlbox((50, 50, 500, 400), f"<p>{text}</p>")
    document.save(path)
    return path


def test_a_filter_finds_the_pages_of_a_language(qa, pages) -> None:
    qa.add(pages)
    index = qa.index
    numbers = {record.page.number: record.metadata.get("language") for record in index.get(index.ids())}
    assert [numbers[n] for n in range(7)] == [*DRAWN, None]
    for number, code in enumerate(DRAWN):
        found = qa.search("2024", filter={"language": code})
        assert [candidate.page.number for candidate in found] == [number]
    assert len(index.ids({"language": {"$in": ["ru", "el"]}})) == 2
    assert [record.page.number for record in index.get(index.ids({"language": None}))] == [6]


def test_who_knows_the_language_better_says_it(embedder, pages) -> None:
    with DocumentQA(MemoryIndex.for_embedder(embedder), embedder=embedder, reader=TEXT_ALONE) as qa:
        qa.add(pages, metadata={"language": "la"})
        assert len(qa.index.ids({"language": "la"})) == 7
