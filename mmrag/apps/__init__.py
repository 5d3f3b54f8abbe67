"""What people and programs look at: an HTTP API, the page on it, and tools for agents (MCP).

Everything here is a thin way to `mmrag.pipeline.DocumentQA`: no logic of searching or answering lives here.
The API and the page need the extra ``ui``, the tools the extra ``mcp``.
"""
