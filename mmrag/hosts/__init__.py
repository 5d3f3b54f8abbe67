"""What both hosts, LangChain and LlamaIndex, need of the core: metadata, names, ranking."""
