"""A Qdrant server that is none: requests answered by the client's local mode, and failures where asked for.

It stands for what cannot run here. It is put below the client, as its transport: the client, its requests and
its reading of answers are the real ones, and so is everything above.
"""

import json
import re
from threading import RLock

import httpx
from qdrant_client import QdrantClient, models

VERSION = "1.20.0"


class FakeQdrant(httpx.BaseTransport):
    """Answers requests; `rules` are asked first, and may answer or raise instead.

    Attributes:
        requests: ``(method, path, body)`` of every request that came.
        rules: functions of number, method, path and the request; None: go on.
        answered_rules: the same, asked after the request was carried out: its answer is lost.
    """

    def __init__(self, version=VERSION, key=None):
        self.local = QdrantClient(":memory:")
        self.version = version
        self.key = key
        self.requests = []
        self.rules = []
        self.answered_rules = []
        self._lock = RLock()
        self._shapes = {}

    def handle_request(self, request):
        body = json.loads(request.content) if request.content else None
        path = request.url.path
        with self._lock:
            number = len(self.requests)
            self.requests.append((request.method, path, body))
        for rule in list(self.rules):
            response = rule(number, request.method, path, request)
            if response is not None:
                return response
        if self.key is not None and request.headers.get("api-key") != self.key:
            return reply(401, error="Must provide an API key or an Authorization bearer token")
        with self._lock:
            response = self._answer(request.method, path, body)
        for rule in list(self.answered_rules):
            other = rule(number, request.method, path, request)
            if other is not None:
                return other
        return response

    def _answer(self, method, path, body):
        if path == "/":
            return httpx.Response(200, json={"title": "qdrant", "version": self.version})
        match = re.fullmatch(r"/collections/([^/]+)(/.*)?", path)
        if match is None:
            return httpx.Response(404, text="")
        name, action = match[1], match[2] or ""
        if (method, action) == ("GET", "/exists"):
            return reply(result={"exists": self.local.collection_exists(name)})
        if (method, action) == ("PUT", ""):
            return self._create(name, body)
        if not self.local.collection_exists(name):
            return reply(404, error=f"Not found: Collection `{name}` doesn't exist!")
        if (method, action) == ("GET", ""):
            return self._info(name)
        try:
            return getattr(self, ACTIONS[method, action])(name, body)
        except ValueError as error:
            return reply(400, error=f"Wrong input: {error}")

    def _create(self, name, body):
        if self.local.collection_exists(name):
            return reply(409, error=f"Wrong input: Collection `{name}` already exists!")
        request = models.CreateCollection.model_validate(body)
        self.local.create_collection(
            name, vectors_config=request.vectors or {}, sparse_vectors_config=request.sparse_vectors
        )
        self._shapes[name] = body
        return reply(result=True)

    def _info(self, name):
        info = self.local.get_collection(name).model_dump(mode="json")
        body = self._shapes.get(name, {})
        info["config"]["params"] |= {
            "shard_number": body.get("shard_number") or 1,
            "replication_factor": body.get("replication_factor") or 1,
            "write_consistency_factor": body.get("write_consistency_factor") or 1,
        }
        return reply(result=info)

    def _upsert(self, name, body):
        request = models.PointsList.model_validate(body)
        self.local.upsert(name, request.points, update_mode=request.update_mode)
        return done()

    def _retrieve(self, name, body):
        request = models.PointRequest.model_validate(body)
        points = self.local.retrieve(name, request.ids, with_payload=request.with_payload)
        return reply(result=[point.model_dump(mode="json") for point in points])

    def _scroll(self, name, body):
        request = models.ScrollRequest.model_validate(body)
        points, offset = self.local.scroll(
            name,
            scroll_filter=request.filter,
            limit=request.limit,
            offset=request.offset,
            with_payload=request.with_payload,
        )
        return reply(
            result={"points": [p.model_dump(mode="json") for p in points], "next_page_offset": offset}
        )

    def _count(self, name, body):
        request = models.CountRequest.model_validate(body)
        return reply(result={"count": self.local.count(name, count_filter=request.filter).count})

    def _facet(self, name, body):
        request = models.FacetRequest.model_validate(body)
        found = self.local.facet(name, request.key, request.filter, request.limit, exact=True)
        return reply(result=found.model_dump(mode="json"))

    def _query(self, name, body):
        request = models.QueryRequest.model_validate(body)
        query = request.query.nearest if isinstance(request.query, models.NearestQuery) else request.query
        found = self.local.query_points(
            name,
            query=query,
            using=request.using,
            prefetch=request.prefetch,
            query_filter=request.filter,
            limit=request.limit,
            with_payload=request.with_payload,
        )
        return reply(result=found.model_dump(mode="json"))

    def _set_payload(self, name, body):
        request = models.SetPayload.model_validate(body)
        self.local.set_payload(name, request.payload, points=request.filter)
        return done()

    def _delete(self, name, body):
        selector = models.PointIdsList if "points" in body else models.FilterSelector
        self.local.delete(name, selector.model_validate(body))
        return done()

    def _batch(self, name, body):
        request = models.UpdateOperations.model_validate(body)
        self.local.batch_update_points(name, request.operations)
        return reply(result=[{"operation_id": 0, "status": "completed"}] * len(request.operations))

    def _index(self, name, body):
        return done()


ACTIONS = {
    ("PUT", "/points"): "_upsert",
    ("POST", "/points"): "_retrieve",
    ("POST", "/points/scroll"): "_scroll",
    ("POST", "/points/count"): "_count",
    ("POST", "/facet"): "_facet",
    ("POST", "/points/query"): "_query",
    ("POST", "/points/payload"): "_set_payload",
    ("POST", "/points/delete"): "_delete",
    ("POST", "/points/batch"): "_batch",
    ("PUT", "/index"): "_index",
}


def reply(status=200, *, result=None, error=None, headers=None):
    """An answer in the form of Qdrant's."""
    state = "ok" if error is None else {"error": error}
    return httpx.Response(status, json={"result": result, "status": state, "time": 0.0}, headers=headers)


def done():
    return reply(result={"operation_id": 0, "status": "completed"})
