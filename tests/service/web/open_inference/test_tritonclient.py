"""NVIDIA's own client, unmodified, against the real server: what it can ask, and what it understands of the answers.

The tiny model answers with the mean of the red and the green channel, in 0..1; its evidence grid has 2 x 3 cells.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.conftest import encoded
from tests.service.server_process import ServerProcess, wait_for
from tests.tiny_model import HEIGHT, WIDTH, write_tiny_model

triton = pytest.importorskip("tritonclient.http")
InferenceServerException = pytest.importorskip("tritonclient.utils").InferenceServerException


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the tiny model."""
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    process = ServerProcess("--model", str(model), "--device", "cpu", "--max-frames-per-request", "4").ready()
    yield process
    process.kill()


@pytest.fixture
def client(server: ServerProcess) -> Iterator["triton.InferenceServerClient"]:
    """The foreign client."""
    with triton.InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as opened:
        yield opened


def pixels(*colours: tuple[int, int, int], height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Frames of one colour each."""
    return np.stack([np.full((height, width, 3), colour, np.uint8) for colour in colours])


def pixel_input(frames_BHWC: NDArray[np.uint8], binary: bool = True) -> "triton.InferInput":
    given = triton.InferInput("frames", list(frames_BHWC.shape), "UINT8")
    return given.set_data_from_numpy(frames_BHWC, binary_data=binary)


def encoded_input(*frames: bytes, column: bool = False) -> "triton.InferInput":
    elements = np.array(frames, dtype=np.object_).reshape((-1, 1) if column else (-1,))
    return triton.InferInput("encoded_frames", list(elements.shape), "BYTES").set_data_from_numpy(elements)


def refusal(ask: Callable[[], object]) -> tuple[str, str]:
    """Status and message of the exception that the client makes of a refusal."""
    with pytest.raises(InferenceServerException) as caught:
        ask()
    return caught.value.status(), caught.value.message()


def test_health_is_understood(client: "triton.InferenceServerClient") -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "0.0.1")
    assert not client.is_model_ready("huge")
    assert not client.is_model_ready("tiny", "9")


def test_server_tells_its_extensions(client: "triton.InferenceServerClient") -> None:
    told = client.get_server_metadata()
    assert told["name"] == "roadcue"
    assert {"binary_tensor_data", "classification", "model_configuration"} <= {*told["extensions"]}


def test_metadata_and_configuration_describe_the_same_tensors(client: "triton.InferenceServerClient") -> None:
    told, configured = client.get_model_metadata("tiny"), client.get_model_config("tiny", "0.0.1")
    assert told["versions"] == ["0.0.1"]
    assert client.get_model_metadata("tiny", "0.0.1") == told
    assert refusal(lambda: client.get_model_metadata("tiny", "9"))[0] == "404"
    assert [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in told["inputs"] + told["outputs"]] == [
        ("encoded_frames", "BYTES", [-1]),
        ("frames", "UINT8", [-1, 8, 12, 3]),
        ("probabilities", "FP32", [-1, 2]),
        ("evidence", "FP32", [-1, 2, 2, 3]),
    ]
    assert told["parameters"] == {"labels": "red,green", "threshold.red": 0.5, "threshold.green": 0.5}
    assert [(tensor["name"], tensor["data_type"], tensor["dims"]) for tensor in configured["input"]] == [
        ("encoded_frames", "TYPE_STRING", [1]),
        ("frames", "TYPE_UINT8", [8, 12, 3]),
    ]
    assert [tensor["dims"] for tensor in configured["output"]] == [[2], [2, 2, 3]]
    assert configured["max_batch_size"] == 4


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_pixels_are_answered_in_both_forms_both_ways(
    client: "triton.InferenceServerClient", binary_in: bool, binary_out: bool
) -> None:
    """204/255 = 0.8, 51/255 = 0.2."""
    given = pixel_input(pixels((204, 51, 0), (0, 255, 9)), binary_in)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("evidence", "probabilities")]
    answer = client.infer("tiny", [given], outputs=wanted, request_id="frame 7")
    assert answer.get_response()["id"] == "frame 7"
    assert (answer.get_response()["model_name"], answer.get_response()["model_version"]) == ("tiny", "0.0.1")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), [[0.8, 0.2], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(answer.as_numpy("evidence")[0, 0], np.full((2, 3), 0.8), atol=1e-6)
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["evidence", "probabilities"]


def test_one_output_in_json_and_the_other_as_bytes(client: "triton.InferenceServerClient") -> None:
    wanted = [
        triton.InferRequestedOutput("probabilities", binary_data=False),
        triton.InferRequestedOutput("evidence", binary_data=True),
    ]
    answer = client.infer("tiny", [pixel_input(pixels((255, 0, 0)))], outputs=wanted)
    assert answer.get_output("probabilities")["data"] == [1.0, 0.0]
    assert answer.get_output("evidence")["parameters"] == {"binary_data_size": 2 * 2 * 3 * 4}
    np.testing.assert_array_equal(answer.as_numpy("evidence")[0, 0], np.ones((2, 3)))


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_encoded_frames_are_answered_compressed_or_not(
    client: "triton.InferenceServerClient", column: bool, compression: str | None
) -> None:
    given = encoded_input(encoded(204, 51, 0), encoded(0, 255, 0, form="WEBP"), column=column)
    answer = client.infer("tiny", [given], request_compression_algorithm=compression)
    np.testing.assert_allclose(answer.as_numpy("probabilities")[0], [0.8, 0.2], atol=1e-6)
    assert answer.as_numpy("probabilities")[1, 1] > 0.9
    assert answer.as_numpy("evidence").shape == (2, 2, 2, 3)


def test_pixels_of_another_size_are_resized(client: "triton.InferenceServerClient") -> None:
    """The upper half is black, the lower white: halved in both directions, each cell is one or the other."""
    frames_BHWC = pixels((0, 0, 0), height=2 * HEIGHT, width=2 * WIDTH)
    frames_BHWC[0, HEIGHT:] = 255
    evidence = client.infer("tiny", [pixel_input(frames_BHWC)]).as_numpy("evidence")
    np.testing.assert_array_equal(evidence[0, 0], [[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize("binary", [True, False])
def test_classification_names_the_most_probable_labels(client: "triton.InferenceServerClient", binary: bool) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    answer = client.infer("tiny", [pixel_input(pixels((51, 204, 0), (255, 0, 0)))], outputs=wanted)
    texts = [[text.decode() if binary else text for text in row] for row in answer.as_numpy("probabilities")]
    assert texts == [["0.800000:1:green", "0.200000:0:red"], ["1.000000:0:red", "0.000000:1:green"]]


def test_requests_under_way_together_get_their_own_answers(client: "triton.InferenceServerClient") -> None:
    reds = [0, 51, 102, 153, 204, 255]
    asked = [client.async_infer("tiny", [pixel_input(pixels((red, 0, 0)))], request_id=str(red)) for red in reds]
    answers = [request.get_result() for request in asked]
    assert [answer.get_response()["id"] for answer in answers] == [str(red) for red in reds]
    found = [float(answer.as_numpy("probabilities")[0, 0]) for answer in answers]
    np.testing.assert_allclose(found, [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-6)


def test_unknown_model_and_version_are_not_found(client: "triton.InferenceServerClient") -> None:
    given = [pixel_input(pixels((0, 0, 0)))]
    assert refusal(lambda: client.infer("huge", given)) == (
        "404",
        "there is no model 'huge'; the one that serves is 'tiny'",
    )
    assert refusal(lambda: client.infer("tiny", given, model_version="2")) == (
        "404",
        "there is no version '2' of tiny; the one that serves is '0.0.1'",
    )
    assert refusal(lambda: client.get_model_metadata("huge"))[0] == "404"


def test_wrong_type_is_refused_with_the_right_one(client: "triton.InferenceServerClient") -> None:
    floats = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    given = triton.InferInput("frames", list(floats.shape), "FP32").set_data_from_numpy(floats)
    message = "the input frames came as FP32; allowed is UINT8"
    assert refusal(lambda: client.infer("tiny", [given])) == ("400", message)


def test_encoded_frames_of_wrong_type_or_shape_are_refused_with_the_right_one(
    client: "triton.InferenceServerClient",
) -> None:
    numbers = triton.InferInput("encoded_frames", [1], "UINT8").set_data_from_numpy(np.zeros(1, np.uint8))
    message = "the input encoded_frames came as UINT8; allowed is BYTES"
    assert refusal(lambda: client.infer("tiny", [numbers])) == ("400", message)
    pair = np.array([[encoded(0, 0, 0)] * 2], dtype=np.object_)
    row = triton.InferInput("encoded_frames", [1, 2], "BYTES").set_data_from_numpy(pair)
    message = "the input encoded_frames came with shape [1, 2]; allowed: [N] and [N, 1]"
    assert refusal(lambda: client.infer("tiny", [row])) == ("400", message)


def test_a_service_that_drains_is_live_and_not_ready(tmp_path: Path) -> None:
    """And still answers who asks."""
    model = write_tiny_model(tmp_path / "tiny.onnx")
    process = ServerProcess("--model", str(model), "--device", "cpu", "--drain-seconds", "3600").ready()
    try:
        with triton.InferenceServerClient(process.url.removeprefix("http://")) as client:
            assert client.is_server_ready()
            process.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not client.is_server_ready())
            assert client.is_server_live()
            assert not client.is_model_ready("tiny")
            assert client.infer("tiny", [pixel_input(pixels((255, 0, 0)))]).as_numpy("probabilities")[0, 0] == 1
    finally:
        process.kill()


@pytest.mark.parametrize("shape", [(1, 3, HEIGHT, WIDTH), (HEIGHT, WIDTH, 3), (1, HEIGHT, WIDTH, 4), (1, 0, WIDTH, 3)])
def test_wrong_shape_is_refused_with_the_right_one(
    client: "triton.InferenceServerClient", shape: tuple[int, ...]
) -> None:
    message = f"the input frames came with shape {list(shape)}; allowed: [N, H, W, 3]"
    assert refusal(lambda: client.infer("tiny", [pixel_input(np.zeros(shape, np.uint8))])) == ("400", message)


def test_unknown_input_and_output_are_refused_with_those_there_are(client: "triton.InferenceServerClient") -> None:
    stranger = triton.InferInput("image", [1], "BYTES").set_data_from_numpy(np.array([b"a"], dtype=np.object_))
    status, message = refusal(lambda: client.infer("tiny", [stranger]))
    assert (status, "encoded_frames (BYTES [N]) or frames (UINT8 [N, H, W, 3])" in message) == ("400", True)
    wanted = [triton.InferRequestedOutput("labels")]
    assert refusal(lambda: client.infer("tiny", [pixel_input(pixels((0, 0, 0)))], outputs=wanted)) == (
        "400",
        "the model has no output 'labels'; there are probabilities and evidence",
    )


def test_more_frames_than_a_request_may_hold_are_refused(client: "triton.InferenceServerClient") -> None:
    given = pixel_input(np.zeros((5, HEIGHT, WIDTH, 3), np.uint8))
    assert refusal(lambda: client.infer("tiny", [given])) == (
        "413",
        "the request holds more than 4 frames; allowed are 4",
    )


def test_bad_image_is_refused_with_its_number(client: "triton.InferenceServerClient") -> None:
    status, message = refusal(lambda: client.infer("tiny", [encoded_input(encoded(1, 2, 3), b"GIF89a")]))
    assert (status, message.partition(",")[0]) == ("415", "frame 2 of 2: the frame begins with b'GIF89a' (GIF)")


def test_timeout_in_microseconds_is_a_deadline(client: "triton.InferenceServerClient") -> None:
    given = [pixel_input(pixels((0, 0, 0)))]
    assert refusal(lambda: client.infer("tiny", given, timeout=1))[0] == "504"
    assert client.infer("tiny", given, timeout=30_000_000).as_numpy("probabilities").shape == (1, 2)


def test_what_the_server_has_not_is_an_error_in_the_clients_terms(client: "triton.InferenceServerClient") -> None:
    assert refusal(client.get_model_repository_index) == ("404", "There is nothing at /v2/repository/index")


def test_other_parameters_are_passed_over_and_shared_memory_is_refused(client: "triton.InferenceServerClient") -> None:
    given = pixel_input(pixels((255, 0, 0)))
    assert (
        client.infer("tiny", [given], priority=3, parameters={"camera": "front"}).as_numpy("probabilities")[0, 0] == 1
    )
    shared = triton.InferInput("frames", [1, HEIGHT, WIDTH, 3], "UINT8")
    shared.set_shared_memory("region", HEIGHT * WIDTH * 3)
    status, message = refusal(lambda: client.infer("tiny", [shared]))
    assert (status, message.startswith("the parameter shared_memory_region is not supported")) == ("400", True)


@pytest.mark.anyio
async def test_its_asynchronous_client_is_understood_too(server: ServerProcess) -> None:
    awaited = pytest.importorskip("tritonclient.http.aio")
    async with awaited.InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert await client.is_model_ready("tiny")
        answers = [await client.infer("tiny", [pixel_input(pixels((204, 51, 0)))]) for _ in range(3)]
    np.testing.assert_allclose(answers[0].as_numpy("probabilities"), [[0.8, 0.2]], atol=1e-6)
