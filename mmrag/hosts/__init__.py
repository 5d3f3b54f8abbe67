"""What both hosts, LangChain and LlamaIndex, need of the core, so that their adapters hold no logic.

``metadata``   flat metadata of records, pages and citations
``inputs``     budgets, questions, ids and images as users of a host write them
``items``      a host's document or node
``pages``      the page behind an item, drawn or identified
``ranking``    items as a ranking, verdicts as metadata
``rerankers``  settings of a reranker, and the reranker they mean
``embedders``  a host's embeddings as an embedder, and the other way round
``stores``     adding and searching in a host's store
``deletion``   deleting by id, filter, file or folder
``loaders``    pages of files, one at a time
``sources``    retrieved items as sources of an answer
``answers``    citations by source, documents shown to a model
``threads``    async names of blocking methods
"""
