"""The endpoint that anyone would write first: sync def, UploadFile, Pillow, ONNX Runtime as it comes, uvicorn.

No fault is built in: FastAPI runs sync functions on its pool of threads, and ONNX Runtime takes every core for each
frame. A raw body comes as bytes, which FastAPI reads before the function begins.
"""

import io
import json
from typing import Annotated

import numpy as np
import onnxruntime
import uvicorn
from fastapi import Body, FastAPI, File, UploadFile
from PIL import Image

from benchmarks.serving.peers.launch import Launch

launch = Launch.from_environment()
session = onnxruntime.InferenceSession(str(launch.model), providers=["CPUExecutionProvider"])
metadata = json.loads(session.get_modelmeta().custom_metadata_map["roadcue"])
size = (metadata["input"]["width"], metadata["input"]["height"])
labels = [label["key"] for label in metadata["labels"]]
app = FastAPI()


def predict(file: io.IOBase | io.BytesIO) -> dict[str, float]:
    """What the frame shows."""
    frame = np.asarray(Image.open(file).convert("RGB").resize(size))
    probabilities = session.run(["probabilities"], {"frames": frame[None]})[0][0]
    return dict(zip(labels, probabilities.tolist(), strict=True))


if launch.body == "raw":

    @app.post("/predict")
    def predict_raw(data: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict[str, float]:
        """A body that is the frame."""
        return predict(io.BytesIO(data))

else:

    @app.post("/predict")
    def predict_form(request: Annotated[UploadFile, File()]) -> dict[str, float]:
        """A form that holds the frame."""
        return predict(request.file)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=launch.port, log_level="warning")
