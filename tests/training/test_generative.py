"""Laws of the generative stages, on a tiny true model: stock losses, served prompts, a stock-shaped model."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")
pytest.importorskip("accelerate")

from PIL import Image, ImageDraw  # noqa: E402

from mmrag import MLLMEmbedder  # noqa: E402
from mmrag.models.tiny import make_tiny  # noqa: E402
from mmrag.rerank import ThinkReranker  # noqa: E402
from mmrag.rerank.traces import TraceWriter  # noqa: E402
from mmrag.training.config import RestoreConfig, load_config  # noqa: E402
from mmrag.training.generative.examples import read_response_examples, read_trace_examples  # noqa: E402
from mmrag.training.generative.model import counts_of, logits_of, loss_sums  # noqa: E402
from mmrag.training.generative.rank_data import read_rank_examples  # noqa: E402
from mmrag.training.generative.run import GenerativeRun  # noqa: E402
from mmrag.training.run import run_stage  # noqa: E402
from mmrag.types import Candidate, Page, Query, Ranking, Record, Source  # noqa: E402

from ..ports import own_port  # noqa: E402

Write = Callable[..., Path]
CPU = torch.device("cpu")


def config_file(folder: Path, base: Path, data: Path, stage: str, **changes: dict[str, Any]) -> Path:
    """A run of a few seconds; `changes` by section."""
    settings: dict[str, Any] = {
        "stage": stage,
        "model": {"name": str(base), "lora": {"rank": 4, "dropout": 0.0}, "max_visual_tokens": 64},
        "data": [{"path": str(data)}],
        "run": {
            "output": str(folder / "out"),
            "steps": 4,
            "batch": 2,
            "micro_batch": 2,
            "learning_rate": 0.003,
            "warmup": 0,
            "save_every": 2,
            "evaluate_every": 0,
            "log_every": 1,
        },
    }
    for section, values in changes.items():
        settings[section] = {**settings.get(section, {}), **values}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "c.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def losses_of(output: Path) -> list[float]:
    return [line["loss"] for line in json.loads((output / "curve.json").read_text()) if "loss" in line]


def write_lines(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    """Two lessons with a picture, one of words."""
    for name, colour in (("red", "red"), ("sea", "blue")):
        picture = Image.new("RGB", (96, 64), "white")
        ImageDraw.Draw(picture).rectangle((10, 10, 60, 40), fill=colour)
        picture.save(tmp_path / f"{name}.png")
    return write_lines(
        tmp_path / "lessons.jsonl",
        [
            {"image": "red.png", "prompt": "Which colour?", "response": "red"},
            {
                "image": "sea.png",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Colour?"},
                    {"role": "assistant", "content": "a deep blue"},
                ],
            },
            {"prompt": "Say it.", "response": "it"},
        ],
    )


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl", "internvl"])
def test_the_loss_is_the_stock_models_at_compression_1(
    tmp_path: Path, tiny_qwen: Path, lessons: Path, family: str
) -> None:
    from transformers import AutoModelForImageTextToText

    base = tiny_qwen if family == "qwen3_vl" else make_tiny(tmp_path / "base", family)
    made = GenerativeRun(
        load_config(config_file(tmp_path, base, lessons, "restore", model={"compression": 1}))
    )
    stock = AutoModelForImageTextToText.from_pretrained(base).eval()
    made.model.eval()
    tasks = [task for one in made.parts[0].examples for task in made.collator.builder.validation_tasks(one)]
    logits = logits_of(made.model, tasks, pad=0, device=CPU)
    total = 0.0
    for task in tasks:
        ids = torch.tensor([task.row.ids])
        labels = torch.full_like(ids, -100)
        for at, right in zip(task.positions, task.labels, strict=True):
            labels[0, at + 1] = right
        seen: dict[str, Any] = {}
        for image in task.row.images:
            seen["pixel_values"] = image.pixels
            if family != "internvl":
                seen["image_grid_thw"] = torch.tensor([[1, *image.grids[0]]])
                seen["mm_token_type_ids"] = (ids == stock.config.image_token_id).int()
        with torch.no_grad():
            total += stock(input_ids=ids, labels=labels, **seen).loss.item() * len(task.positions)
    count = counts_of(tasks)["words"]
    assert [len(task.positions) for task in tasks] == [len("red") + 1, len("a deep blue") + 1, len("it") + 1]
    assert loss_sums(logits, tasks)["words"].item() / count == pytest.approx(total / count, rel=1e-5)
    made.close()


def test_restoring_learns_and_its_result_loads_everywhere(
    tmp_path: Path, tiny_qwen: Path, lessons: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers import AutoModelForImageTextToText

    file = config_file(
        tmp_path,
        tiny_qwen,
        lessons,
        "restore",
        model={"lora": None, "train_vision": True},  # every weight, as the paper has it
        run={"steps": 20, "batch": 3, "save_every": 20},
    )
    folder = run_stage("restore", file)
    assert folder is not None
    seen = losses_of(tmp_path / "out")
    assert seen[-1] < 0.5 * seen[0]
    stock, found = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert type(stock).__name__ == "Qwen3VLForConditionalGeneration"
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    embedder = MLLMEmbedder.from_pretrained(folder, pooling="last")
    assert embedder.encode_document(["a page"])[0].shape == (1, 64)
    contrast = load_config(file).model
    caplog.clear()
    from mmrag.training.model import load_model

    restored = contrast.model_copy(update={"name": str(folder)})
    model, _ = load_model(restored)
    assert model.meta is not None
    assert not caplog.messages
    load_model(restored.model_copy(update={"compression": 3}))
    assert "was restored at compression 2 and is trained at 3" in caplog.text
    assert "`model: name`" in (folder / "README.md").read_text()


@pytest.fixture
def short(tmp_path: Path) -> dict[str, Any]:
    """Prompts of a few words: to a tokenizer of bytes those of the package are long."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    for name, text in {
        "instruction": "help",
        "pointwise_system": "yes or no",
        "pointwise_user": "$instruction $mark $query $query_picture $page_picture $page",
        "listwise_system": "order",
        "listwise_user": "$instruction $mark $query $query_picture $pages $count",
        "listwise_page": "$number $mark $page_picture $page",
    }.items():
        (folder / f"{name}.txt").write_text(text)
    return {"prompts": str(folder)}


def test_killed_and_resumed_gives_the_same_losses(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write, short: dict[str, Any]
) -> None:
    pairs = toy_pairs(negatives=3)
    changes = {"model": {"lora": {"rank": 2, "dropout": 0.1}}, "rerank": short}
    run_stage("rerank", config_file(tmp_path / "a", tiny_qwen, pairs, "rerank", **changes))
    second = config_file(tmp_path / "b", tiny_qwen, pairs, "rerank", **changes)
    made = GenerativeRun(load_config(second))

    class KilledError(Exception):
        pass

    step, calls = made.collator.__call__, 0

    def dying(examples: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:  # accelerate reads one batch ahead: this is in the third step, after the checkpoint
            raise KilledError
        return step(examples)

    made.collator = dying  # type: ignore[assignment]
    with pytest.raises(KilledError):
        made.train()
    made.close()
    run_stage("rerank", second)
    assert losses_of(tmp_path / "b" / "out") == pytest.approx(losses_of(tmp_path / "a" / "out"), rel=1e-6)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_give_the_single_process_losses(tmp_path: Path, tiny_qwen: Path, lessons: Path) -> None:
    files = {
        count: config_file(
            tmp_path / str(count), tiny_qwen, lessons, "restore", run={"batch": 4 // count, "steps": 2}
        )
        for count in (1, 2)
    }
    run_stage("restore", files[1])
    port = own_port()
    code = f"from mmrag.training.run import run_stage; run_stage('restore', {str(files[2])!r})"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in (0, 1)
    ]
    ends = [process.communicate(timeout=240)[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0], ends[0][-2000:]
    # three lessons of different lengths: a mean of the processes' own means would be another number
    one, two = (losses_of(tmp_path / str(count) / "out") for count in (1, 2))
    assert two == pytest.approx(one, rel=1e-4)


# ------------------------------------------------------------------------------------------- rerank


TEXTS = {"bridge": "The bridge opened in 1932.", "rice": "Rice takes 20 minutes.", "ferry": "The ferry left."}


def mined(folder: Path, *, pictures: bool = False, **lists: list[str]) -> dict[str, Any]:
    """A line of ``mmrag mine`` about the bridge; `lists` of names from `TEXTS`."""
    line: dict[str, Any] = {
        "format": 1,
        "query": {"id": "q1", "text": "When did <the> bridge open?", "image": None},
        **{name: [] for name in ("positives", "negatives", "removed", "doubtful")},
        "skipped": "",
    }
    for name, items in lists.items():
        for one in items:
            image = None
            if pictures:
                image = str(folder / f"{one}.png")
                Image.new("RGB", (96, 64), {"bridge": "red", "rice": "white", "ferry": "blue"}[one]).save(
                    image
                )
            reason = {"reason": "judged relevant"} if name == "removed" else {}
            line[name].append({"id": one, "text": TEXTS[one], "image": image, "page": None, **reason})
    return line


def rerank_run(folder: Path, base: Path, *lines: dict[str, Any], **changes: dict[str, Any]) -> GenerativeRun:
    data = write_lines(folder / "mined.jsonl", list(lines))
    return GenerativeRun(load_config(config_file(folder, base, data, "rerank", **changes)))


def ready(server: Any, *also: int) -> None:
    """What a mode asks before its first verdict."""
    server.reply(200, {"tokens": [1, 2], "token_strs": ["a", "b"], "max_model_len": 4096})
    for token in also:
        server.reply(200, {"tokens": [token]})


def wire(server: Any) -> list[dict[str, Any]]:
    return [request.json for request in server.requests if request.path.endswith("chat/completions")]


def served_prompt(run: GenerativeRun, body: dict[str, Any]) -> tuple[list[int], list[Any]]:
    """A request as it went over the wire, as the tokens and pixels that a server makes of it."""
    tokenizer, backbone = run.model.backbone.tokenizer, run.model.backbone
    messages, images = [], []
    for message in body["messages"]:
        content = message["content"]
        if not isinstance(content, str):
            for part in content:
                if part["type"] == "image_url":
                    data = base64.b64decode(part["image_url"]["url"].split(",")[1])
                    picture = Image.open(io.BytesIO(data)).convert("RGB")
                    images.append(backbone.preprocess(picture, 10_000, run.model.reader.compression))
            content = [{"type": "image"} if part["type"] == "image_url" else part for part in content]
        messages.append({"role": message["role"], "content": content})
    text = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, **body.get("chat_template_kwargs", {})
    )
    for image in images:
        count = backbone.token_count(image, run.model.reader.compression)
        text = text.replace("<|image_pad|>", "<placeholder>" * count, 1)
    text = text.replace("<placeholder>", "<|image_pad|>")
    return tokenizer(text, add_special_tokens=False)["input_ids"], [image.pixels for image in images]


def test_a_model_that_reads_text_alone_learns_to_judge(tmp_path: Path) -> None:
    """A Qwen2 without eyes: the loss falls, the result is a stock model, and pictures are refused."""
    from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

    base = make_tiny(tmp_path / "base", "qwen2")
    line = mined(tmp_path, positives=["bridge"], negatives=["rice", "ferry"])
    data = write_lines(tmp_path / "mined.jsonl", [line])
    file = config_file(
        tmp_path, base, data, "rerank", rerank={"images": False, "text_chars": 100}, run={"steps": 12}
    )
    folder = run_stage("rerank", file)
    losses = losses_of(tmp_path / "out")
    assert min(losses[-3:]) < losses[0]
    assert isinstance(AutoModelForCausalLM.from_pretrained(folder), Qwen2ForCausalLM)
    seeing = mined(tmp_path, pictures=True, positives=["bridge"], negatives=["rice", "ferry"])
    (tmp_path / "seeing").mkdir()
    run = rerank_run(tmp_path / "seeing", base, seeing)
    with pytest.raises(ValueError, match="reads text only"):
        run.check()


def test_a_page_is_cut_around_the_question_as_when_it_is_served(tmp_path: Path, tiny_qwen: Path) -> None:
    line = mined(tmp_path, positives=["bridge"], negatives=["rice", "ferry"])
    line["positives"][0]["text"] = "Of no use here.\n" * 60 + TEXTS["bridge"] + "\nAnd more." * 60
    run = rerank_run(tmp_path, tiny_qwen, line, rerank={"images": False, "text_chars": 120})
    (example,) = run.parts[0].examples
    alone = run.collator.builder.training_tasks(example, random.Random(3))[0]
    prompt = run.model.backbone.tokenizer.decode(alone.row.ids)
    assert TEXTS["bridge"] in prompt and len(prompt) < 1500


@pytest.mark.parametrize("pictures", [False, True])
def test_the_prompts_are_those_that_the_served_modes_send(
    tmp_path: Path, tiny_qwen: Path, fake_server: Any, pictures: bool
) -> None:
    run = rerank_run(
        tmp_path,
        tiny_qwen,
        mined(tmp_path, pictures=pictures, positives=["bridge"], negatives=["rice", "ferry"]),
    )
    (example,) = run.parts[0].examples
    alone, denied, listed = run.collator.builder.training_tasks(example, random.Random(3))
    place = listed.labels[0]
    orders = [["rice", "ferry"], ["ferry", "rice"]]  # the negatives were drawn in one of these
    for order in orders:
        order.insert(place, "bridge")

    def candidate(name: str) -> Candidate:
        if not pictures:
            return Candidate(Record(name, None, TEXTS[name]), 0.0, 1)
        image = Image.open(tmp_path / f"{name}.png")
        page = Page(
            "x", "d", 7, "8", TEXTS[name], (), (96, 64), Source("f" * 64, "pdf", "a.pdf"), image=image
        )
        return Candidate(Record("x", None, TEXTS[name], page=page), 0.0, 1)

    query = Query(run.parts[0].examples[0].query.text)
    ready(fake_server, 10, 11)
    listed_logprobs = [{"token": f"token_id:{token}", "logprob": -1.0} for token in (10, 11)]
    choice = {"message": {"content": "y"}, "finish_reason": "length"}
    choice["logprobs"] = {"content": [{"token": "y", "top_logprobs": listed_logprobs}]}  # type: ignore[assignment]
    fake_server.reply(200, {"choices": [choice]})
    ThinkReranker(fake_server.url, model="m").rerank(Ranking(query, (candidate("bridge"),)))
    for names in orders:
        ready(fake_server)
        fake_server.chat("[1] > [2] > [3]")
        ranking = Ranking(query, tuple(map(candidate, names)))
        ThinkReranker(fake_server.url, model="m", mode="listwise").rerank(ranking)
    pointwise, *lists = (served_prompt(run, body) for body in wire(fake_server))
    assert list(alone.row.ids) == pointwise[0]
    assert "< the>" in run.model.backbone.tokenizer.decode(alone.row.ids)
    assert (alone.labels, denied.labels) == ((1,), (0,))
    opening = run.model.backbone.tokenizer("[")["input_ids"]
    assert list(listed.row.ids) in [ids + opening for ids, _ in lists]
    for mine, served in zip(alone.row.images, pointwise[1], strict=True):
        torch.testing.assert_close(mine.pixels, served)
    assert len(listed.row.images) == (3 if pictures else 0)
    run.close()


def test_what_is_drawn_follows_from_the_number_of_the_draw(
    tmp_path: Path, tiny_qwen: Path, short: dict[str, Any]
) -> None:
    line = mined(tmp_path, positives=["bridge"], negatives=["rice", "ferry"])
    run = rerank_run(tmp_path, tiny_qwen, line, rerank=short)
    (example,) = run.parts[0].examples

    def lists(numbers: range) -> list[tuple[int, ...]]:
        tasks = run.collator([(example, number) for number in numbers])["batch"].tasks
        return [task.row.ids + task.labels for task in tasks if task.kind == "listwise"]

    first = lists(range(12))
    assert len(set(first)) > 3  # three slots, two orders
    assert {ids[-1] for ids in first} == {0, 1, 2}
    assert lists(range(6, 12)) == first[6:]
    run.close()


def test_both_losses_are_those_worked_by_hand(tmp_path: Path, tiny_qwen: Path) -> None:
    from transformers import AutoModelForImageTextToText

    line = mined(tmp_path, positives=["bridge"], negatives=["rice", "ferry"])
    stock = AutoModelForImageTextToText.from_pretrained(tiny_qwen).eval()
    seen = []
    for micro in (1, 8):
        folder = tmp_path / str(micro)
        folder.mkdir()
        run = rerank_run(
            folder, tiny_qwen, line,
            run={"steps": 1, "learning_rate": 0.0, "micro_batch": micro}, rerank={"listwise_weight": 0.5},
        )  # fmt: skip
        if micro == 1:
            letter = {name: run.model.backbone.tokenizer(name)["input_ids"][0] for name in "yn123"}
            drawn = [(run.mixture[place], at) for at, place in enumerate(next(run.mixture.batches(1)))]
            alone, lists = [], []
            for task in run.collator(drawn)["batch"].tasks:
                with torch.no_grad():
                    logits = stock(input_ids=torch.tensor([task.row.ids])).logits[0, -1].double()
                wanted = "yn" if task.kind == "pointwise" else "123"
                values = [logits[letter[name]].item() for name in wanted]
                right = values[1 - task.labels[0]] if task.kind == "pointwise" else values[task.labels[0]]
                own = math.log(sum(map(math.exp, values))) - right
                (alone if task.kind == "pointwise" else lists).append(own)
        assert (len(alone), len(lists)) == (4, 2)
        run.train()
        run.close()
        seen += losses_of(folder / "out")
    by_hand = sum(alone) / len(alone) + 0.5 * sum(lists) / len(lists)
    assert seen == pytest.approx([by_hand, by_hand], rel=1e-4)


def test_it_learns_to_judge_and_says_so(
    tmp_path: Path, tiny_qwen: Path, toy_pairs: Write, short: dict[str, Any]
) -> None:
    pairs = toy_pairs(negatives=2)
    lines = [json.loads(text) for text in pairs.read_text().splitlines()]
    for line in lines:  # what helps ends in a mark, so that a tiny model can tell
        line["positives"][0]["text"] += " !!!!"
    write_lines(pairs, lines)
    file = config_file(
        tmp_path, tiny_qwen, pairs, "rerank",
        model={"lora": None},
        run={"steps": 24, "batch": 4, "micro_batch": 16, "save_every": 24, "evaluate_every": 24},
        validation={"path": str(pairs), "limit": 4},
        rerank={"listwise": [1, 2], **short},
    )  # fmt: skip
    folder = run_stage("rerank", file)
    assert folder is not None
    seen = losses_of(tmp_path / "out")
    assert sum(seen[-4:]) < 0.6 * sum(seen[:4])
    (measured,) = [
        line for line in json.loads((tmp_path / "out" / "curve.json").read_text()) if "eval_ndcg" in line
    ]
    assert measured["eval_ndcg"] > 0.9
    assert (
        f"| 24 | loss: {measured['eval_loss']:.3f}, ndcg: {measured['eval_ndcg']:.3f} |"
        in (folder / "README.md").read_text()
    )
    assert not (folder / "mmrag_config.json").exists()  # a stock directory
    assert (folder / "chat_template.jinja").is_file() or "chat_template" in (
        folder / "tokenizer_config.json"
    ).read_text()


def test_what_was_judged_relevant_is_a_positive_too(tmp_path: Path) -> None:
    line = mined(tmp_path, positives=["bridge"], negatives=["rice"], removed=["ferry"])
    data = write_lines(tmp_path / "m.jsonl", [line, {**line, "negatives": []}])
    examples = read_rank_examples(data, (2, 5))
    assert [one.positive.text for one in examples] == [TEXTS["bridge"], TEXTS["ferry"]]
    assert all([side.text for side in one.negatives] == [TEXTS["rice"]] for one in examples)
    line["removed"][0]["reason"] = "too close to the positive"
    assert len(read_rank_examples(write_lines(data, [line]), (2, 5))) == 1
    with pytest.raises(ValueError, match="at least one query with a positive and a negative, got none"):
        read_rank_examples(write_lines(data, [{**line, "negatives": []}]), (2, 5))


# ------------------------------------------------------------------------------------------- reason


def test_a_reasoner_learns_the_kept_traces_on_the_writer_s_own_prompts(
    tmp_path: Path, tiny_qwen: Path, fake_server: Any
) -> None:
    line = mined(tmp_path, pictures=True, positives=["bridge"], negatives=["rice"])
    writer = TraceWriter(
        fake_server.url, "teacher", cache=tmp_path / "traces", max_concurrency=1,
        render=lambda *_: Image.open(tmp_path / "bridge.png"),
    )  # fmt: skip
    query = Query(line["query"]["text"])
    fake_server.chat("<think>An opening year.</think>It opened in X.")
    writer.write_queries([query])
    from mmrag.embedders.base import Content

    fake_server.chat("<think>A bridge.</think>Opened 1932.")
    writer.write_documents([Content(TEXTS["bridge"], Image.open(tmp_path / "bridge.png"))])
    data = write_lines(tmp_path / "inputs.jsonl", [line])
    reason = {"traces": "traces", "teacher": "teacher"}
    run = GenerativeRun(load_config(config_file(tmp_path, tiny_qwen, data, "reason", reason=reason)))
    asked, page = run.parts[0].examples  # the rice has no trace
    assert page.trace.text == "<think>\nA bridge.\n</think>\nOpened 1932."
    for one, body in zip((asked, page), wire(fake_server), strict=True):
        (task,) = run.collator.builder.validation_tasks(one)
        ids, pixels = served_prompt(run, body)
        said = run.model.backbone.tokenizer(one.trace.text + "<|im_end|>")["input_ids"]
        assert list(task.row.ids) == ids + said
        assert list(task.labels) == said
        assert len(pixels) == len(task.row.images)
    assert run.config.model.compression == 1
    run.close()


def test_traces_of_a_jsonl_file_and_those_that_are_missing(tmp_path: Path, tiny_qwen: Path) -> None:
    lines = [
        {"side": "query", "text": "When?", "trace": {"thought": "A year.", "final": "In X."}},
        {"text": "A page.", "trace": "<think>Short.</think> A page."},
    ]
    found = read_trace_examples(write_lines(tmp_path / "t.jsonl", lines))
    assert [one.trace.text for one in found if one.trace] == [
        "<think>\nA year.\n</think>\nIn X.",
        "<think>\nShort.\n</think>\nA page.",
    ]
    data = write_lines(tmp_path / "t.jsonl", [{"text": "A page."}])
    file = config_file(tmp_path, tiny_qwen, data, "reason")
    with pytest.raises(ValueError, match=r"must bring its trace, or reason: traces .* got traces=None"):
        run_stage("reason", file, check=True)
    with pytest.raises(ValueError, match=r"line 1: 'trace' must be text or have"):
        read_trace_examples(write_lines(tmp_path / "t.jsonl", [{"text": "A page.", "trace": 3}]))


# ------------------------------------------------------------------------------------------ restore


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ({"prompt": "a", "respons": "b"}, r"line 2: unknown key 'respons'. Did you mean 'response'\?"),
        ({"prompt": "a", "response": " "}, "line 2: 'response' must be text with words"),
        ({"response": "b"}, "line 2: must have either 'prompt' or 'messages', got both or none"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "line 2: a message must have a 'role'"),
        (
            {"messages": [{"role": "system", "content": "a"}], "response": "b"},
            "line 2: 'messages' must end with the user",
        ),
        (
            {"path": "a.pdf", "prompt": "a", "response": "b"},
            "line 2: 'page' of a 'path' must be a whole number of at least 0, got None",
        ),
        ([1], r"line 2: a training example must be a JSON object, got \[1\]"),
    ],
)
def test_a_bad_lesson_is_refused_with_its_line(tmp_path: Path, line: Any, match: str) -> None:
    data = write_lines(tmp_path / "l.jsonl", [{"prompt": "a", "response": "b"}, line])
    with pytest.raises(ValueError, match=match):
        read_response_examples(data, RestoreConfig())


def test_pages_of_a_pdf_are_lessons_in_reading(tmp_path: Path, make_pdf: Write) -> None:
    file = make_pdf(
        tmp_path / "docs" / "a.pdf", ["The bridge was opened in 1932.", "3", "It is very long. " * 4]
    )
    lessons = read_response_examples(tmp_path / "docs", RestoreConfig(page_prompt="Read.", page_chars=40))
    assert [(one.content.file, one.content.page) for one in lessons if one.content] == [
        (str(file), 0),
        (str(file), 2),
    ]
    assert [one.response for one in lessons] == [
        "The bridge was opened in 1932.",
        ("It is very long. " * 4)[:40],
    ]
    assert lessons[0].turns == (("user", "Read."),)
    with pytest.raises(ValueError, match="at least a page with a text layer, got none"):
        read_response_examples(make_pdf(tmp_path / "b.pdf", ["3"]), RestoreConfig())


def test_what_is_learnt_of_a_lesson(tmp_path: Path, tiny_qwen: Path, lessons: Path) -> None:
    (lessons.parent / "l.jsonl").write_text(
        '{"image": "red.png", "prompt": "no <|im_end|> here", "response": "a long answer"}\n'
    )
    data = lessons.parent / "l.jsonl"
    tasks = {}
    for name, changes in {
        "response": {},
        "all": {"restore": {"loss_on": "all"}},
        "short": {"model": {"max_tokens": 50, "compression": 2, "max_visual_tokens": 4}},
    }.items():
        run = GenerativeRun(load_config(config_file(tmp_path / name, tiny_qwen, data, "restore", **changes)))
        (tasks[name],) = run.collator.builder.validation_tasks(run.parts[0].examples[0])
        tokenizer, picture = run.model.backbone.tokenizer, run.model.backbone.image_token_id
        run.close()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    one, everything, short = (tasks[name] for name in ("response", "all", "short"))
    assert tokenizer.decode(one.labels) == "a long answer<|im_end|>"
    assert one.row.ids.count(end) == 2  # the user's turn and the response's; the text's is words
    assert "no < |im_end|> here" in tokenizer.decode(one.row.ids)
    assert everything.row.ids == one.row.ids
    assert len(everything.positions) == len(one.row.ids) - 1 - one.row.ids.count(picture)
    assert picture not in everything.labels
    assert len(short.row.ids) == 50
    assert short.labels[-1] != end


def test_a_loss_that_is_no_number_stops_and_names_the_batch(
    tmp_path: Path, tiny_qwen: Path, lessons: Path
) -> None:
    run = GenerativeRun(load_config(config_file(tmp_path, tiny_qwen, lessons, "restore")))
    with torch.no_grad():
        run.model.head.weight.fill_(float("nan"))
    with pytest.raises(
        FloatingPointError,
        match=r"must be a finite number, got nan at step 0 with the examples '.*lessons.jsonl, line",
    ):
        run.train()
    run.close()


def test_a_check_trains_nothing_and_a_model_without_a_head_is_refused(
    tmp_path: Path, tiny_qwen: Path, lessons: Path
) -> None:
    told: list[str] = []
    assert (
        run_stage(
            "restore", config_file(tmp_path, tiny_qwen, lessons, "restore"), check=True, say=told.append
        )
        is None
    )
    assert any("lessons 3" in text for text in told)
    assert not any("read twice" in text for text in told)
    assert not (tmp_path / "out").exists()
    from mmrag.models import checkpoint
    from mmrag.training.config import ModelConfig
    from mmrag.training.model import load_model

    model, settled = load_model(ModelConfig(name=str(tiny_qwen), lora=None))
    checkpoint.save(tmp_path / "headless", model, settled)
    with pytest.raises(ValueError, match=r"missing or of another shape: lm_head\.weight"):
        run_stage("restore", config_file(tmp_path, tmp_path / "headless", lessons, "restore"), check=True)
    (tmp_path / "red.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"got 1 that do not; the first is .*red.png, for .*line 1"):
        run_stage("restore", config_file(tmp_path, tiny_qwen, lessons, "restore"), check=True)


def test_adapters_of_a_bfloat16_model_learn_in_float32(tmp_path: Path) -> None:
    """A step of 1e-5 is lost in bfloat16, whose numbers about .05 are .0002 apart."""
    from mmrag.training.config import ModelConfig
    from mmrag.training.generative.model import load_generative
    from mmrag.training.model import merge_lora, trained_weights

    base = make_tiny(tmp_path / "base", "qwen2")
    config = ModelConfig(name=str(base), compression=1, dtype="bfloat16", lora={"rank": 4, "dropout": 0.0})
    model, _ = load_generative(config)
    weights = trained_weights(model)
    assert weights and {weight.dtype for weight in weights.values()} == {torch.float32}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-5)
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    ids = torch.arange(5)[None]
    for _ in range(2):  # the first step moves B alone, which starts at 0
        model.stock(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all((weight != before[name]).any() for name, weight in weights.items())
    merge_lora(model.backbone.language_model)
    assert {weight.dtype for weight in model.stock.parameters()} == {torch.bfloat16}
