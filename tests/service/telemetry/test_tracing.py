"""A request is a trace: its caller's, with the stages of its frames."""

import builtins
import itertools
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from service.app import create_app
from service.errors import InvalidSettings
from service.settings import Settings
from service.telemetry import tracing
from service.telemetry.logs import RequestFields
from service.telemetry.tracing import Tracing, open_tracing, tracer_provider
from tests.service.conftest import OpenClient, running, wait_until

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = ({"traceparent": f"00-{TRACE}-{PARENT}-{flags}"} for flags in ("01", "00"))


class Memory(InMemorySpanExporter):
    """Finished spans by name, in the order in which they ended."""

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.get_finished_spans() if span.name == name]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def open_traced(open_client: OpenClient, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens a client of an application that traces into memory."""

    def in_memory(endpoint: str, share: float) -> Tracing:
        provider = tracer_provider(share)
        provider.add_span_processor(SimpleSpanProcessor(memory))
        return Tracing(provider)

    monkeypatch.setattr("service.app.open_tracing", in_memory)
    return lambda **settings: open_client(traces="http://collector", **settings)


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return dict(span.attributes or {})


async def test_request_is_a_server_span_by_the_conventions(open_traced: Any, memory: Memory, red_png: bytes) -> None:
    """https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span"""
    async with open_traced() as client:
        await client.post("/predict", files={"file": red_png})
    (span,) = memory.named("POST /predict")
    told = attributes(span)
    assert span.kind == SpanKind.SERVER
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == told["url.path"] == "/predict"
    assert told["http.response.status_code"] == 200
    assert "error.type" not in told
    assert span.resource.attributes["service.name"] == "roadcue"


async def test_each_frame_waits_is_decoded_and_inferred_within_its_request(
    open_traced: Any, memory: Memory, red_png: bytes
) -> None:
    async with open_traced() as client:
        reply = await client.post("/predict", files=[("files", red_png), ("files", b"no image"), ("files", red_png)])
    (request,) = memory.named("POST /predict")
    stages = {name: memory.named(name) for name in ("queue", "decode", "infer")}
    for spans in stages.values():
        assert [attributes(span)["roadcue.frame.index"] for span in spans] == [0, 2]
        for span in spans:
            assert span.parent.span_id == request.context.span_id
            assert request.start_time <= span.start_time <= span.end_time <= request.end_time
    decode_ms = sum(span.end_time - span.start_time for span in stages["decode"]) / 1e6
    assert decode_ms == pytest.approx(reply.json()["timing_ms"]["decode"], abs=0.002)
    assert attributes(stages["decode"][0])["roadcue.frame.width"] == 24
    assert attributes(stages["infer"][0])["roadcue.batch.frames"] == 1
    (refused,) = request.events
    assert dict(refused.attributes) == {"roadcue.frame.index": 1, "error.type": "unsupported_image"}


async def test_waiting_for_a_batch_lies_between_decoding_and_inference(
    open_traced: Any, memory: Memory, red_png: bytes
) -> None:
    """One worker decodes one frame after the other, so no two decode spans overlap; nor do a frame's own stages."""
    async with open_traced(inference_workers=1, max_batch_frames=4) as client:
        await client.post("/predict", files=[("files", red_png)] * 9)
    stages = {name: memory.named(name) for name in ("queue", "decode", "infer")}
    decoding = sorted(stages["decode"], key=lambda span: span.start_time)
    jitter_ns = 1_000_000  # instants of one frame are sums of durations measured on two threads
    assert all(a.end_time <= b.start_time + jitter_ns for a, b in itertools.pairwise(decoding))
    for number in range(9):
        own = [span for spans in stages.values() for span in spans if attributes(span)["roadcue.frame.index"] == number]
        own.sort(key=lambda span: (span.start_time, span.end_time))
        assert [span.name for span in own] == ["queue", "decode", "queue", "infer"]
        assert all(a.end_time <= b.start_time for a, b in itertools.pairwise(own))


async def test_trace_of_the_caller_is_carried_on(open_traced: Any, memory: Memory, red_png: bytes) -> None:
    async with open_traced() as client:
        await client.post("/predict", files={"file": red_png}, headers=SAMPLED)
    (request,) = memory.named("POST /predict")
    assert format(request.parent.span_id, "016x") == PARENT
    assert {format(span.context.trace_id, "032x") for span in memory.get_finished_spans()} == {TRACE}


async def test_caller_that_does_not_sample_is_obeyed(open_traced: Any, memory: Memory, red_png: bytes) -> None:
    async with open_traced() as client:
        await client.post("/predict", files={"file": red_png}, headers=UNSAMPLED)
    assert memory.get_finished_spans() == ()


async def test_share_decides_only_where_the_caller_did_not(open_traced: Any, memory: Memory, red_png: bytes) -> None:
    async with open_traced(traces_share=0.0) as client:
        await client.post("/predict", files={"file": red_png})
        assert memory.get_finished_spans() == ()
        await client.post("/predict", files={"file": red_png}, headers=SAMPLED)
    assert memory.named("POST /predict")


async def test_probes_are_not_traced(open_traced: Any, memory: Memory) -> None:
    async with open_traced() as client:
        for path in ("/health/ready", "/metrics", "/v2/health/live", "/v2/models/tiny/ready"):
            assert (await client.get(path)).status_code == 200
    assert memory.get_finished_spans() == ()


async def test_failure_is_an_error_and_a_bad_request_is_not(open_traced: Any, memory: Memory) -> None:
    """By the conventions a server's span fails with 5xx, never with 4xx."""
    async with open_traced() as client:
        await client.post("/predict", files={"file": b"no image"})
        client.app.state.upload_limits = None
        await client.post("/predict", files={"file": b"x"})
    refused, failed = memory.named("POST /predict")
    assert (refused.status.status_code, failed.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert "error.type" not in attributes(refused)
    assert attributes(failed)["error.type"] == "500"


async def test_log_names_the_trace_and_the_request(
    open_traced: Any, memory: Memory, red_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.handler.addFilter(RequestFields())
    async with open_traced() as client:
        await client.post("/predict", files={"file": red_png}, headers={**SAMPLED, "X-Request-ID": "abc"})
    event = vars(next(record for record in caplog.records if record.name == "service.access"))
    (request,) = memory.named("POST /predict")
    assert (event["trace_id"], event["request_id"]) == (TRACE, "abc")
    assert event["span_id"] == format(request.context.span_id, "016x")


async def test_nothing_is_traced_and_nothing_imported_without_an_endpoint(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "open_tracing", lambda *_: pytest.fail("nobody asked for traces"))
    app = create_app(settings)
    async with running(app) as client:
        await wait_until(lambda: app.state.lifecycle.stage == "ready")
        assert (await client.get("/model", headers=SAMPLED)).status_code == 200
    assert app.state.tracing is None


def test_endpoint_without_the_libraries_ends_the_start_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def without_sdk(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError("not installed", name=name)
        return there(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_sdk)
    with pytest.raises(
        InvalidSettings, match=r"opentelemetry.exporter.* is not installed: pip install 'roadcue\[otel\]'"
    ):
        open_tracing("http://localhost:4318", 1.0)


class Receiver(HTTPServer):
    """A collector for OTLP over HTTP that keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ReceiverHandler)
        self.requests: list[tuple[str, str, ExportTraceServiceRequest]] = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_port}"


class ReceiverHandler(BaseHTTPRequestHandler):
    """Takes one export."""

    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        export = ExportTraceServiceRequest.FromString(body)
        self.server.requests.append((self.path, self.headers["Content-Type"], export))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_spans_arrive_at_a_collector_by_the_end_of_the_process(
    open_client: OpenClient, receiver: Receiver, red_png: bytes
) -> None:
    """OTLP over HTTP as protobuf, read with the protocol's own definitions."""
    async with open_client(traces=f"{receiver.url}/") as client:
        await client.post("/predict", files={"file": red_png}, headers=SAMPLED)
    path, content_type, export = receiver.requests[0]
    spans = [span for resource in export.resource_spans for scope in resource.scope_spans for span in scope.spans]
    assert (path, content_type) == ("/v1/traces", "application/x-protobuf")
    assert {span.name for span in spans} == {"POST /predict", "queue", "decode", "infer"}
    assert {span.trace_id.hex() for span in spans} == {TRACE}


async def test_collector_that_refuses_costs_its_spans_and_no_request(
    open_client: OpenClient, receiver: Receiver, red_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 404
    async with open_client(traces=receiver.url) as client:
        reply = await client.post("/predict", files={"file": red_png})
    assert reply.status_code == 200
    assert "Failed to export" in caplog.text


def test_collector_that_hangs_does_not_hold_up_the_end() -> None:
    class Hanging(TracerProvider):
        """Never done with sending."""

        released = threading.Event()

        def shutdown(self) -> None:
            self.released.wait(30)

    provider = Hanging()
    Tracing(provider).close(timeout_s=0.01)
    assert not provider.released.is_set()
    provider.released.set()
