"""`mmrag serve` with the real vLLM."""

from __future__ import annotations

from mmrag.client import ServerClient


def test_x(tiny_vl_server):
    assert ServerClient(tiny_vl_server.url, api_key="").models() == ["tiny-qwen3-vl"]


def test_y(tiny_pooling_server):
    assert ServerClient(tiny_pooling_server.url, api_key="").models() == ["tiny-qwen3-vl"]
    print(ServerClient(tiny_pooling_server.url, api_key="").post("/rerank", {"model": "tiny-qwen3-vl", "query": "sales", "documents": ["cats", "sales in Europe fell", {"content": [{"type": "text", "text": "work"}]}]}))
