"""Laws of secrets: what looks like one reaches no worker, no printed command and no error."""

from __future__ import annotations

import pytest

from mmrag.errors import ServeError, ServerAnswerError, ServerStatusError
from mmrag.masking import (
    MOST_SECRETS,
    is_secret_name,
    mask_arguments,
    mask_causes,
    mask_secrets,
    remember_secret,
    without_secrets,
)

SECRET = "sk-live-7Q/9+zz&4"


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "MMRAG_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
        "GITHUB_TOKEN",
        "MMRAG_PDF_PASSWORD",
        "PGPASSWORD",
        "MYSQL_PWD",
        "SSHPASS",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_AUTH_SOCK",
        "SENTRY_DSN",
        "api-key",
        "hf-token",
    ],
)
def test_names_of_secrets_are_known_by_their_shape(name: str) -> None:
    assert is_secret_name(name)
    assert without_secrets({name: "x", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_what_a_worker_needs_is_kept() -> None:
    names = [
        "PATH",
        "HOME",
        "PWD",
        "OLDPWD",
        "LANG",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "OMP_NUM_THREADS",
        "XDG_CACHE_HOME",
    ]
    names += [
        "TESSDATA_PREFIX",
        "TOKENIZERS_PARALLELISM",
        "SYSTEMROOT",
        "CUDA_VISIBLE_DEVICES",
        "COMPASS_DIR",
    ]
    assert list(without_secrets(dict.fromkeys(names, "x"))) == names
    assert without_secrets({"DATABASE_URL": "postgres://me:hunter2@host/db", "HTTP_PROXY": "http://h:1"}) == {
        "HTTP_PROXY": "http://h:1"
    }


def test_values_of_secret_flags_are_masked() -> None:
    command = [
        "vllm",
        "--api-key",
        "a",
        "b",
        "--port",
        "1",
        "--hf-token=t",
        "--max-num-batched-tokens",
        "9",
        "-x",
    ]
    assert mask_arguments(command) == [
        *("vllm", "--api-key", "***", "***", "--port", "1", "--hf-token=***"),
        *("--max-num-batched-tokens", "9", "-x"),
    ]
    addresses = ["pg://ann:open-sesame@host/db", "--index=pg://:open-sesame@/db", "pg://ann@host/db"]
    assert mask_arguments(addresses) == ["pg://ann:***@host/db", "--index=pg://:***@/db", "pg://ann@host/db"]


def test_errors_hold_no_secret_however_it_is_spelt() -> None:
    remember_secret(SECRET)
    for shown in (SECRET, "sk-live-7Q\\/9+zz&4", "sk-live-7Q/9+zz&amp;4", "sk-live-7Q%2F9%2Bzz%264"):
        status, answer = (
            ServerStatusError(f"bad {shown}", 401, shown),
            ServerAnswerError(f"bad {shown}", shown),
        )
        for text in (str(status), status.body, str(answer), answer.raw_text, str(ServeError(shown))):
            assert "7Q" not in text and "***" in text
    cause = RuntimeError("outer")
    cause.__cause__ = OSError(f"illegal header {SECRET}")
    mask_causes(cause)
    assert "7Q" not in str(cause.__cause__)


def test_short_words_are_no_secrets_and_only_the_newest_are_remembered() -> None:
    remember_secret("EMPTY")
    assert mask_secrets("EMPTY") == "EMPTY"
    for number in range(MOST_SECRETS + 1):
        remember_secret(f"one-of-many-{number:04}")
    assert mask_secrets("one-of-many-0000") == "one-of-many-0000"
    assert mask_secrets(f"one-of-many-{MOST_SECRETS:04}") == "***"
