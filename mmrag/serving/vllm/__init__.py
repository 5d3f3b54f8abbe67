"""Start a vLLM server with the flags that a use of a model needs, and stop it again.

``mmrag serve MODEL --mode rerank|embed|answer`` at the command line; here are its two parts.
"""

from mmrag.serving.vllm.plan import MODES, ServePlan, plan_server
from mmrag.serving.vllm.process import ServerProcess

__all__ = ["MODES", "ServePlan", "ServerProcess", "plan_server"]
