"""The settings of hosts' rerankers are those of `ThinkReranker`, said once."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from mmrag import LocalReranker, ThinkReranker
from mmrag.hosts.rerankers import NEEDS_SERVER, SETTINGS, RerankSettings

PARAMETERS = inspect.signature(ThinkReranker).parameters
OF_THE_CORE = {"render", "sum_spellings", "probe"}  # hosts draw pages themselves; two are for experiments


def test_settings_are_parameters_of_the_reranker() -> None:
    assert set(SETTINGS) <= set(PARAMETERS)
    assert set(PARAMETERS) - set(SETTINGS) - OF_THE_CORE == {"top_n", "api_key"}
    assert set(NEEDS_SERVER) <= set(SETTINGS)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - {"base_url", "mode", "alpha"}))  # None means local
def test_defaults_are_those_of_the_reranker(name: str) -> None:
    assert RerankSettings.model_fields[name].default == PARAMETERS[name].default


def test_every_setting_says_what_it_is() -> None:
    assert [name for name, field in RerankSettings.model_fields.items() if not field.description] == []


def test_settings_make_the_reranker() -> None:
    assert isinstance(RerankSettings().core, LocalReranker)
    core = RerankSettings(base_url="http://127.0.0.1:9", think_tokens=8, prompts=None, timeout=3.0).core
    assert isinstance(core, ThinkReranker)
    assert core.settings.think_tokens == 8


def test_settings_beside_a_ready_reranker_are_refused() -> None:
    ready = LocalReranker()
    assert RerankSettings(reranker=ready, top_n=2, keep_thought=True).core is ready
    with pytest.raises(ValueError, match="a ready reranker takes no mode or api_key"):
        RerankSettings(reranker=ready, mode="local", api_key="k")


def test_folders_are_kept_as_text() -> None:
    settings = RerankSettings(base_url="http://127.0.0.1:9", cache=Path("replies"))
    assert settings.cache == "replies"
