"""Laws of the package's words: what a name may be, and how a docstring begins.

A name is a noun of the field, or a noun and an adjective; a lone participle or pronoun (`found`, `asked`,
`one`) leaves the reader to guess the noun. A function's docstring opens with a verb in the imperative; ruff's
D401 lets any word pass that it does not know as a verb, so the verbs in use are listed here.

``python tests/test_words.py PATH...`` prints what breaks these laws in files or folders.
"""

# ruff: noqa: SIM905  (a list of words is read and extended as text)

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "mmrag"

PRONOUNS = frozenset(
    """
    it one ones other others own this that these those they them what which who whom whose mine ours
    theirs each none some any both same such another everything nothing something anything
    """.split()
)
PLACES = frozenset({"place", "places"})  # a position, a device, a rank: the noun says which
IRREGULAR = frozenset(
    """
    begun bent bought bound broken brought built caught chosen done drawn driven eaten fallen fed felt
    fought found given gone got gotten grown heard held hidden kept known laid led learnt lent lit
    lost made meant met mistaken paid proven said seen sent shaken shown shut sold sought spent spoken
    spread stolen stood struck sworn taken taught thrown told torn understood unread unseen woken won
    worn written
    """.split()
)
NOT_PARTICIPLES = frozenset(
    """
    areembed bed bleed breed creed deed embed exceed feed hundred indeed kindred need proceed red reembed
    seed shed sled speed succeed weed
    """.split()
)
NOUNS_IN_ING = frozenset(
    """
    bearing binding building ceiling coding crossing drawing during embedding encoding ending evening
    finding heading king landing listing mapping marking meaning morning opening padding packing
    pairing parsing pooling rating reading rendering ring scaling scoring serving setting sibling
    spacing spelling spring string thing timing tokenizing training warning wing wording writing
    batching caching chunking hashing logging nesting paging ranking reranking sampling searching
    ordering oversampling streaming tracing
    """.split()
)

# A name or a file that may break the law, with the reason.
NAME_EXEMPTIONS: dict[str, str] = {
    "mine": "a verb here: to mine hard negatives",
    "hidden": "the width H of a model's states",
    "shared": "threading term: memory or cache used by several",
    "cached": "the field's word for a reply or gradient from a cache",
    "quoted": "public field of Answer, beside it",
    "abstained": "public field of Answer, the field's word",
    "reranked": "public field of Ranking: a ranking is reranked or not",
    "needed": "names a bool",
    "nested": "MetaEmbed's term: nested groups of vectors",
    "answered": "public field of CurvePoint: a share of questions, with `silent`",
    "cited": "the field's word for the boxes that an answer names as evidence",
    "created": "key of the stored manifest",
    "skipped": "public field of the reports, with `added`, `replaced`",
    "added": "public field of AddReport",
    "replaced": "public field of AddReport",
    "renamed": "public field of AddReport",
    "unchanged": "public field of AddReport",
    "resumed": "public field of ReembedReport and PairReport",
    "removed": "public field of reports and of mined records",
    "deepspeed": "the library DeepSpeed, a key of training configurations",
    "allowed": "argument of the contrastive loss: a mask, True where a document may count",
    "teacherforcing": "the field's word for feeding a model the right answer's prefix",
    "blocking": "asyncio's word for what is not async",
    "dropped": "public field of PairReport",
    "trained": "stored key of mmrag_config.json",
    "located": "stored key of mmrag-mini's config.json: meta tokens that attend to a part of the content",
    "structured": "vLLM's term: structured outputs",
}
EXEMPT_FILES: dict[str, str] = {
    "documents/layout.py": "replaced with the reading of structure",
}

VERBS = frozenset(
    """
    abort accept answer borrow classify digest dim word accumulate acquire add adopt advance align allow
    append apply arrange ask assemble assert assign attach average await balance batch begin bind
    block bound bring broadcast build cache call cancel catch change check choose clean clear clip
    close collate collect combine compare complete compose compress compute concatenate configure
    confirm connect consume contain continue convert copy correct count cover create crop cut cycle
    decide decode decompress deduplicate defer define delete deliver derive describe detect determine
    discard discover display distribute divide download drain draw drop dump embed emit empty enable
    encode end enforce enlarge ensure enter enumerate escape estimate evaluate exclude execute exit
    expand expect explain export expose extend extract feed fetch fill filter find finish fit fix
    flatten flip flush fold follow forget fork format forward freeze fuse gather generate get give go
    group grow guard guess handle hash hide hold identify ignore implement import include increment
    index infer initialise initialize inject insert inspect install interleave intersect interpret
    invert invoke iterate join judge keep keyword kill label launch lend leave let limit link list
    load locate lock log look lower make map mark mask match measure meet merge mine mix move multiply
    name nest normalise normalize note notify number obtain offer omit open order own pack pad page
    pair parse partition pass permute pick place plan plot point pool post pre prefetch prefix prepare
    prevent print probe process produce project propose protect prove prune publish pull push put
    quantise quantize query quote raise rank read rebuild receive record recover recycle reduce refer
    refuse register reject release reload remember remove rename render renumber reorder reopen repair
    repeat replace replay report represent request require rerank rescale reserve reset reshape resize
    resolve restore resume retrieve retry return reuse reverse rewrite rotate round route run sample
    save say scale scan schedule score search see select send separate serialise serialize serve set
    settle shard share shift shorten show shrink shuffle shut sign signal sit size skip slice slide
    snap sort split spread stack standardise standardize start state step stop store stream strip
    subtract suggest sum summarise supply support suppress swap switch synchronise tabulate take tally
    tell terminate test think time tokenise tokenize total touch trace train transcribe transform
    translate transpose traverse treat trim truncate try turn undo unite unlock unpack update use
    validate verify visit wait walk warm warn watch weigh weight widen wrap write yield zip
    """.split()
)


def package_files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if not is_exempt(path))


def is_exempt(path: Path) -> bool:
    name = path.resolve().relative_to(ROOT).as_posix()
    return any(name.startswith(prefix) for prefix in EXEMPT_FILES)


def is_lone(name: str) -> bool:
    """Whether a name is one word, and that a participle or a pronoun."""
    word = name.strip("_").lower()
    if re.fullmatch("__.+__", name):  # Python's own
        return False
    if "_" in word or not word.isalpha() or name in NAME_EXEMPTIONS or word in NAME_EXEMPTIONS:
        return False
    if word in PRONOUNS | PLACES | IRREGULAR:
        return True
    if word.endswith("ed") and len(word) > 4:
        return word not in NOT_PARTICIPLES
    return word.endswith("ing") and len(word) > 4 and word not in NOUNS_IN_ING


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a file gives a name: variables, attributes, arguments, definitions."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def lone_names(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = sorted(set(bound_names(tree)))
    return [f"{path}:{line}: {name}" for line, name in found if is_lone(name)]


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def docstrings_without_verb(path: Path) -> list[str]:
    broken = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or is_property(node):
            continue
        text = ast.get_docstring(node)
        first = re.match(r"[A-Za-z]+", text or "")
        if text and (first is None or first[0].lower() not in VERBS):
            broken.append(f"{path}:{node.lineno}: {node.name}: {text.splitlines()[0][:70]}")
    return broken


def test_lone_participles_and_pronouns_are_seen() -> None:
    assert [name for name in ("found", "asked", "_one", "place", "laid") if not is_lone(name)] == []
    assert [name for name in ("page", "found_pages", "seed", "embedding", "skipped") if is_lone(name)] == []


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_nouns(path: Path) -> None:
    assert lone_names(path) == []


@pytest.mark.parametrize("path", package_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_a_verb(path: Path) -> None:
    assert docstrings_without_verb(path) == []


if __name__ == "__main__":
    targets = [Path(argument) for argument in sys.argv[1:]] or [ROOT]
    for target in targets:
        for path in sorted(target.rglob("*.py")) if target.is_dir() else [target]:
            if not is_exempt(path):
                for line in lone_names(path) + docstrings_without_verb(path):
                    sys.stdout.write(line + "\n")
