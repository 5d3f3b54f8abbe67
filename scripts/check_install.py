"""Install each integration into an empty environment, as the README says, and search with it.

    python scripts/check_install.py

Run by ``make clean-install``. It needs a package index and takes a minute or two for each.
"""

from __future__ import annotations

import re
import sys
import tempfile
import venv
from pathlib import Path

from make_vllm import PROJECT, run

USES = {
    "langchain-mmrag": """
from langchain_mmrag import MMRagVectorStore
with MMRagVectorStore() as store:
    store.add_texts(["The horn sounds twice a minute.", "The oil comes on a Tuesday."], ids=["fog", "oil"])
    assert store.similarity_search("How often does the horn sound?", k=1)[0].id == "fog"
""",
    "llama-index-mmrag": """
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import VectorStoreQuery
from llama_index.vector_stores.mmrag import MMRagVectorStore
store = MMRagVectorStore()
store.add([TextNode(id_="fog", text="The horn sounds twice a minute."), TextNode(id_="oil", text="Oil.")])
query = VectorStoreQuery(query_str="How often does the horn sound?", similarity_top_k=1)
assert store.query(query).ids == ["fog"]
""",
}


def main() -> int:
    for name, code in USES.items():
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = Path(folder) / "bin" / "python"
            install = [f"{PROJECT / part}" for part in command(name)]
            run([python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *install])
            run([python, "-c", code])
            print(f"pip install {' '.join(command(name))}: installed, and found what was asked for.")
    return 0


def command(name: str) -> list[str]:
    """The folders that the README's command for an integration installs, in order."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^pip install (.*integrations/{name})\b", readme, re.MULTILINE)
    return str(found).split()


if __name__ == "__main__":
    sys.exit(main())
