"""`ServerClient`: JSON over HTTP to one server, for threads and for event loops.

The policy (keys, time limits, retries) is in `mmrag.serving.connection`, the calls as generators in
`mmrag.serving.exchange`, the sockets in `mmrag.serving.transport`, what is read of a reply in
`mmrag.serving.wire`. Here each call gets its two names: one that blocks and one to await.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

from mmrag.serving.actions import Actions, Emit, aiterate, arun, iterate, run
from mmrag.serving.exchange import Exchanges
from mmrag.serving.wire import ChatReply, Delta, Json, parse_chat, parse_delta, quote

__all__ = ["ChatReply", "Delta", "Json", "ServerClient", "parse_chat", "quote"]


class ServerClient(Exchanges):
    """JSON over HTTP to one server, OpenAI-compatible or not.

    Safe to share between threads and between event loops; `mmrag.serving.transport.ClientPool` tells how.
    Closing is optional and only frees sockets; a closed client opens new ones when it is used again.

    Args:
        base_url: ``http://host:8000`` or ``http://host:8000/v1``; see `mmrag.serving.wire.split_base_url`.
        model: name put into requests that name none; None asks the server, which must serve just one.
        api_key: sent as a bearer token. None looks into the environment (see `mmrag.serving.connection`);
            ``""`` sends none.
        timeout: seconds that one call may take in all.
        max_retries: attempts after the first.
        max_concurrency: requests in flight at once, from threads and from each event loop; others wait.
        transport: an httpx transport in place of the network, for a Unix socket or a test.
        key_over_http: send a key in the clear to hosts beyond this machine and private networks, too.

    Raises:
        ValueError: an argument is out of its range, `base_url` is not a URL, or a key would go in the clear.
    """

    def get(self, path: str) -> Json:
        """Return the JSON object at a path; see `post`."""
        return run(self.exchange("GET", path))

    async def aget(self, path: str) -> Json:
        """Run `get` without blocking the event loop."""
        return await arun(self.exchange("GET", path))

    def post(self, path: str, body: Json) -> Json:
        """Post a JSON object and return the JSON object that comes back.

        Args:
            path: from the API base (``chat/completions``), or from the root (``/rerank``, with the slash).
            body: sent as it is.

        Raises:
            ServerUnreachableError: no connection, the connection broke, or time ran out.
            ServerStatusError: a status other than 200, after the retries.
            ServerAnswerError: the reply is not a JSON object.
        """
        return run(self.exchange("POST", path, body))

    async def apost(self, path: str, body: Json) -> Json:
        """Run `post` without blocking the event loop."""
        return await arun(self.exchange("POST", path, body))

    def stream(self, path: str, body: Json) -> Generator[Json, None, None]:
        """Post a JSON object and yield the server-sent events of the reply as JSON objects.

        Raises:
            ServerError: as `post`; also for a reply that is no event stream, and for one that
                breaks off, lacks ``[DONE]`` and a ``finish_reason``, or holds something that is not JSON.
        """
        return iterate(self._emit_events(path, body))

    def astream(self, path: str, body: Json) -> AsyncGenerator[Json, None]:
        """Run `stream` without blocking the event loop."""
        return aiterate(self._emit_events(path, body))

    def models(self) -> list[str]:
        """Return the names of the models that are served."""
        return run(self.served_models())

    async def amodels(self) -> list[str]:
        """Run `models` without blocking the event loop."""
        return await arun(self.served_models())

    def model_name(self) -> str:
        """Return the model that requests go to: the one given, or the only one that the server has.

        Raises:
            ServerError: no model was given and the server has none or several, or cannot be reached.
        """
        return run(self.resolve_model())

    async def amodel_name(self) -> str:
        """Run `model_name` without blocking the event loop."""
        return await arun(self.resolve_model())

    def chat(self, body: Json) -> Json:
        """Ask for a chat completion and return it; `parse_chat` reads it.

        Args:
            body: without a ``model`` it gets the client's.

        Raises:
            ValueError: the body sets ``stream``.
            ServerError: as `post`.
        """
        return run(self.complete(body))

    async def achat(self, body: Json) -> Json:
        """Run `chat` without blocking the event loop."""
        return await arun(self.complete(body))

    def chat_stream(self, body: Json) -> Generator[Delta, None, None]:
        """Ask for a chat completion and yield its pieces; the last ones carry the token counts.

        Raises:
            ServerError: as `stream`; also if the server reports an error between two pieces.
        """
        return iterate(self.emit_completion(body, _delta))

    def achat_stream(self, body: Json) -> AsyncGenerator[Delta, None]:
        """Run `chat_stream` without blocking the event loop."""
        return aiterate(self.emit_completion(body, _delta))

    def close(self) -> None:
        """Close the sockets of the blocking calls."""
        self._pool.close()

    async def aclose(self) -> None:
        """Close the sockets of the running event loop."""
        await self._pool.aclose()

    def __enter__(self) -> ServerClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> ServerClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _emit_events(self, path: str, body: Json) -> Actions[None]:
        stream = yield from self.open_events(path, body)
        while (event := (yield from stream.next())) is not None:
            yield Emit(event)


def _delta(event: Json) -> list[Delta]:
    return [parse_delta(event)]
