"""The command line: ``mmrag index | search | ask | status | remove | demo | evaluate | serve | mine | ...``.

This file only parses; what a command does stands in `mmrag.cli.commands`, imported once a command is
known, so that ``mmrag --help`` needs nothing heavy.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with some files or pages skipped, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmrag.cli.arguments import (
    budget,
    count,
    metadata_filter,
    metadata_pair,
    number,
    port,
    positive,
    ranks,
    share,
)
from mmrag.cli.train import add_train

RERANK_MODES = ("pointwise", "listwise", "likelihood", "served", "ecrr", "qar")
ALL = 100_000  # more than any list of candidates
EXIT_FAILED, EXIT_USAGE, EXIT_SKIPPED, EXIT_INTERRUPTED = 1, 2, 3, 130


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="mmrag",
        description="PDFs and images in, question in; answer out, with the pages and boxes that prove it.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with some files or pages skipped.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON instead of text")
    common.add_argument("-v", "--verbose", action="store_true", help="log what happens, on standard error")

    embedding = argparse.ArgumentParser(add_help=False)
    embedding.add_argument(
        "--embedder",
        metavar="MODEL",
        help="mmrag-mini or bge-small-en-v1.5, which ship in the package, folder or hub name of a "
        "checkpoint, or a server's model (mmrag-mini); an index needs the one that made it, see reembed",
    )
    embedding.add_argument("--embedder-url", metavar="URL", help="OpenAI-compatible server that embeds")

    where = argparse.ArgumentParser(add_help=False, parents=[embedding])
    where.add_argument(
        "--index", type=Path, default=Path("mmrag-index"), metavar="DIR", help="index directory (%(default)s)"
    )

    drawing = argparse.ArgumentParser(add_help=False)
    drawing.add_argument("--password", action="append", metavar="TEXT", help="try this on encrypted files")
    drawing.add_argument("--renderer", choices=("pymupdf", "pdfium"), default="pymupdf", help="(%(default)s)")
    drawing.add_argument("--workers", type=positive, metavar="N", help="reading processes")

    reading = argparse.ArgumentParser(add_help=False, parents=[drawing])
    reading.add_argument(
        "--ocr",
        choices=("auto", "off", "force"),
        default="auto",
        help="auto: where a page has no usable text layer (%(default)s)",
    )

    searching = argparse.ArgumentParser(add_help=False)
    searching.add_argument("--k", type=positive, default=5, metavar="N", help="pages wanted (%(default)s)")
    searching.add_argument(
        "--budget", type=budget, metavar="Q,D", help="vectors used of the query and of a page, like 16,64"
    )
    searching.add_argument(
        "--filter", type=metadata_filter, metavar="F", help="key=value, or a JSON filter on the metadata"
    )
    searching.add_argument("--exact", action="store_true", help="score every page, no shortcut")

    ranking = argparse.ArgumentParser(add_help=False)
    ranking.add_argument(
        "--channels",
        choices=("both", "vectors", "text"),
        default="both",
        help="what searches: vectors, words (BM25), or both fused (%(default)s)",
    )

    judging = argparse.ArgumentParser(add_help=False)
    judging.add_argument(
        "--rerank",
        "--reranker",
        choices=("none", "local", *RERANK_MODES),
        metavar="MODE",
        help="judge the first pages again: local (a small model in this process), none, or with a server "
        + ", ".join(RERANK_MODES)
        + " (pointwise)",
    )
    judging.add_argument(
        "--reranker-url", metavar="URL", help="OpenAI-compatible server whose model judges the pages"
    )
    judging.add_argument("--reranker-model", metavar="NAME", help="model at that server (its first)")
    judging.add_argument(
        "--reranker-text-only", action="store_true", help="send page text without pictures to that server"
    )
    judging.add_argument(
        "--think", type=count, metavar="N", help="tokens that it may think before each judgement (0)"
    )

    reranking = argparse.ArgumentParser(add_help=False, parents=[judging])
    reranking.add_argument(
        "--rerank-top", type=positive, default=10, metavar="N", help="pages that are judged (%(default)s)"
    )
    reranking.add_argument(
        "--alpha", type=share, metavar="A", help="the search score's share, 0 to 1 (local 0.5, server 0)"
    )

    answering = argparse.ArgumentParser(add_help=False)
    answering.add_argument(
        "--answerer-url", metavar="URL", help="OpenAI-compatible server whose model writes the answer"
    )
    answering.add_argument("--answerer-model", metavar="NAME", help="model at that server (its first)")
    answering.add_argument(
        "--answerer-text-only", action="store_true", help="send page text without pictures to the server"
    )
    answering.add_argument(
        "--answerer-max-tokens", type=positive, default=1024, metavar="N", help="of an answer (%(default)s)"
    )

    one = commands.add_parser(
        "index", parents=[common, where, reading], help="add files, folders or globs to an index"
    )
    one.add_argument("inputs", nargs="+", metavar="PATH", help="file, folder or glob")
    one.add_argument(
        "--metadata",
        type=metadata_pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="written on every page of this call; may be repeated",
    )

    one.add_argument(
        "--trace-url",
        metavar="URL",
        help="have the model of this server write a trace of every page, for --rerank ecrr and qar "
        "(which then need the same model, and the same choice of pictures)",
    )
    one.add_argument("--trace-model", metavar="NAME", help="model at that server (its first)")
    one.add_argument(
        "--trace-text-only", action="store_true", help="send page text without pictures to that server"
    )

    two = commands.add_parser(
        "search", parents=[common, where, searching, ranking, reranking], help="rank pages for a question"
    )
    two.add_argument("query", metavar="QUESTION")

    three = commands.add_parser(
        "ask",
        parents=[common, where, searching, reranking, answering],
        help="answer a question with its evidence",
    )
    three.add_argument("question", nargs="?", metavar="QUESTION")
    three.add_argument(
        "--evidence-dir", type=Path, metavar="DIR", help="write a PNG of each cited page, boxes drawn"
    )
    three.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="JSON lines with a 'question' each"
    )
    three.add_argument("--to", dest="target", type=Path, metavar="FILE", help="where their answers go")

    commands.add_parser("status", parents=[common, where], help="what an index holds")

    four = commands.add_parser("remove", parents=[common, where], help="remove a file or a record")
    four.add_argument("targets", nargs="+", metavar="NAME", help="path, file name, document id or record id")

    five = commands.add_parser(
        "demo", parents=[common, reading], help="index the sample documents and ask five questions"
    )
    five.add_argument(
        "--to", dest="target", type=Path, default=Path("demo"), metavar="DIR", help="(%(default)s)"
    )

    six = commands.add_parser(
        "evaluate",
        parents=[common, embedding, reading, ranking, reranking, answering],
        help="measure retrieval on a pack of questions",
    )
    six.add_argument("pack", nargs="?", type=Path, metavar="DIR", help="the pack (the sample pack)")
    six.add_argument("--index", type=Path, metavar="DIR", help="keep the pack's index here, or use it again")
    six.add_argument("--budget", type=budget, metavar="Q,D", help="vectors used, like 16,64")
    six.add_argument("--exact", action="store_true", help="score every page, no shortcut")
    six.add_argument("--answers", action="store_true", help="also answer every question and count")
    six.add_argument("--to", dest="target", type=Path, metavar="FILE", help="write the report as JSON")
    six.add_argument("--plot", type=Path, metavar="FILE", help="write a plot (needs the extra 'plot')")
    _add_reembed(commands, [common, embedding, drawing])
    _add_serve(commands, common)
    _add_mine(commands, [common, where, judging])
    add_train(commands, common, reading)
    return parser


def _add_reembed(
    commands: argparse._SubParsersAction[Any], parents: Sequence[argparse.ArgumentParser]
) -> None:
    reembed = commands.add_parser(
        "reembed",
        parents=list(parents),
        help="make an index for another embedder from one that is there, without reading the documents again",
        epilog="OLD is not changed. A run that was cut off is gone on with by the same command; NEW is an "
        "index once it is whole. Pages whose file is gone are embedded from their text, and named.",
    )
    reembed.add_argument("old", type=Path, metavar="OLD", help="index directory, made by any embedder")
    reembed.add_argument("new", type=Path, metavar="NEW", help="directory that is empty or absent")
    reembed.set_defaults(ocr="off")


def _add_serve(commands: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    serve = commands.add_parser(
        "serve",
        parents=[common],
        help="start a vLLM server for a model, with the flags that its use needs",
        usage="%(prog)s MODEL [options] [-- ARGUMENT ...]",
        epilog="What stands after -- goes to vLLM as it is. Ctrl-C stops the server (exit code 130).",
    )
    serve.add_argument("model", metavar="MODEL", help="model folder, or id on a model hub")
    serve.add_argument(
        "--mode",
        choices=("rerank", "embed", "answer"),
        help="rerank: /rerank by a model that is a reranker; embed: /v1/embeddings; answer: chat, for "
        "answers and for thinking rerankers (default: by the model's name and configuration)",
    )
    serve.add_argument("--host", default="127.0.0.1", metavar="HOST", help="where it listens (%(default)s)")
    serve.add_argument("--port", type=port, default=8000, metavar="N", help="0: any free one (%(default)s)")
    serve.add_argument(
        "--python", metavar="PATH", help="a Python that has vLLM ($MMRAG_VLLM_PYTHON, else the one running)"
    )
    serve.add_argument("--log", type=Path, metavar="FILE", help="the server's words (a temporary file)")
    serve.add_argument(
        "--timeout", type=positive, default=1800, metavar="S", help="seconds to get ready in (%(default)s)"
    )
    serve.add_argument(
        "--print", dest="print_only", action="store_true", help="print the command and start nothing"
    )


def _add_mine(commands: argparse._SubParsersAction[Any], parents: Sequence[argparse.ArgumentParser]) -> None:
    mine = commands.add_parser(
        "mine",
        parents=list(parents),
        help="make training data of questions with known pages: hard negatives, false ones removed",
        epilog="A number may be 'off'. Defaults marked * follow the judge: 0.1, 0.9 and 0.5 where it gives "
        "probabilities; 0.4, 2.2 and 0 in log-odds (local); only the margin of 0.4 for likelihood. "
        "A run that was cut off is gone on with by the same command.",
    )
    mine.add_argument(
        "--queries",
        type=Path,
        required=True,
        metavar="FILE",
        help="pairs of `mmrag train make-pairs`, or JSON lines with id, question and positives: record ids, "
        "or {file, page from 0}",
    )
    mine.add_argument("--to", dest="target", type=Path, required=True, metavar="FILE", help="JSON lines")
    mine.add_argument(
        "--ranks",
        type=ranks,
        metavar="A,B",
        help="ranks that may be negatives (1,20; without a judge 50,100)",
    )
    mine.add_argument(
        "--negatives", type=positive, metavar="N", help="most of a query (12; without a judge 2)"
    )
    mine.add_argument("--margin", type=number, metavar="M", help="remove what scores s_pos - M or more (*)")
    mine.add_argument("--ratio", type=number, metavar="R", help="remove what scores R * s_pos or more (off)")
    mine.add_argument(
        "--false-negative", type=number, metavar="S", help="remove what scores S or more as relevant (*)"
    )
    mine.add_argument(
        "--least-positive", type=number, metavar="S", help="set positives aside that score below S (*)"
    )
    mine.add_argument(
        "--pick", choices=("best", "random"), help="of what remains (best; without a judge random)"
    )
    mine.add_argument("--seed", type=int, default=0, metavar="N", help="of --pick random (%(default)s)")
    mine.add_argument("--filter", type=metadata_filter, metavar="F", help="key=value, or a JSON filter")
    mine.add_argument("--no-text", action="store_true", help="leave the pages' texts out of the lines")
    mine.add_argument("--pictures", action="store_true", help="draw the pages and name the pictures' paths")
    mine.add_argument(
        "--plot", type=Path, metavar="FILE", help="how the scores are spread (needs the extra 'plot')"
    )
    mine.set_defaults(rerank_top=ALL, alpha=None)


def _split_extra(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments for us and, of ``mmrag serve``, what follows its first ``--``."""
    given = list(arguments)
    if given[:1] != ["serve"] or "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    parser = build_parser()
    ours, extra = _split_extra(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(ours)
    options.extra = extra
    if options.version:
        from mmrag import __version__

        sys.stdout.write(f"mmrag {__version__}\n")
        return 0
    if options.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)

    from mmrag.cli import commands
    from mmrag.errors import MMRagError

    try:
        return commands.run(options)
    except commands.UsageError as error:
        sys.stderr.write(f"mmrag {options.command}: {error}\n")
        return EXIT_USAGE
    except (MMRagError, ValueError, OSError) as error:
        if options.verbose:
            logging.getLogger(__name__).exception("failed")
        if options.json:
            sys.stdout.write(json.dumps({"error": type(error).__name__, "message": str(error)}) + "\n")
        sys.stderr.write(f"mmrag {options.command}: {error}\n")
        return EXIT_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. What was committed stays; the same command goes on from there.\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
