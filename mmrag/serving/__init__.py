"""Everything that talks to an OpenAI-compatible server: client, prompts, replies, and vLLM itself in `vllm`."""
