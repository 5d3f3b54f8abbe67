"""What talks to an OpenAI-compatible server: client, prompts, replies; `vllm` starts one."""
