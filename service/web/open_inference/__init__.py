"""The Open Inference Protocol v2 beside /predict, with Triton's binary tensor data, for clients that speak it already.

    documents      the JSON of a request, checked
    body           the bytes of a request, read piece by piece
    inputs         document and body -> frames
    outputs        detections -> the tensors that were asked for
    descriptions   what server and model say of themselves
    routes         /v2

Frames take the same way as those of /predict: the same limits, queue, deadlines, metrics and refusals.
"""
