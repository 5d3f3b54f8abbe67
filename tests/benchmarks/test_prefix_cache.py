"""The benchmark of prefixes reads a server's counters as vLLM writes them."""

from __future__ import annotations

import pytest
from prefix_cache import read_counters

METRICS = """
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 3000.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 500.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7e+09
vllm:external_prefix_cache_queries_total{engine="0",model_name="m"} 9.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 1.2e+03
"""


def test_counters_are_summed_over_engines_and_others_are_left_out() -> None:
    assert read_counters(METRICS) == {"prefix_cache_queries": 3500.0, "prefix_cache_hits": 1200.0}


def test_a_server_without_them_is_refused() -> None:
    with pytest.raises(ValueError, match="must have vllm:prefix_cache_queries, got none"):
        read_counters("up 1.0")
