# Build:  docker build -t roadcue:cpu .                                (CPU; make image)
#         docker build -t roadcue:cuda --build-arg LIBRARIES=cuda .    (NVIDIA GPU)
FROM python:3.11-slim-bookworm AS build
WORKDIR /source
RUN python -m venv --without-pip /opt/roadcue
COPY pyproject.toml constraints.txt LICENSE ./
COPY distributions distributions
ARG LIBRARIES=cpu

# With the libraries for traces, 6 MB: whoever starts an image wants to set ROADCUE_TRACES, not to build another one.
# The dependencies come first, with an empty package in place of ours: they stay cached while the code changes.
RUN case "$LIBRARIES" in \
        cpu) extras="[otel]" ;; \
        cuda) extras="[cuda,otel]" ;; \
        *) echo "LIBRARIES is '$LIBRARIES'; allowed are cpu and cuda" >&2; exit 2 ;; \
    esac \
    && mkdir service \
    && echo '__version__ = "0"' > service/__init__.py \
    && touch README.md \
    && pip --python /opt/roadcue/bin/python install --no-cache-dir --constraint constraints.txt ".$extras" \
    && rm -r service README.md

# onnxruntime-gpu is one binary for both: it serves on the CPU without these 270 MB, as on any machine without a GPU.
# The plain onnxruntime would be as small, but then the image ran another build than the one that the lock and the
# tests know.
RUN if [ "$LIBRARIES" = cpu ]; then \
        rm /opt/roadcue/lib/python3.*/site-packages/onnxruntime/capi/libonnxruntime_providers_cuda.so \
           /opt/roadcue/lib/python3.*/site-packages/onnxruntime/capi/libonnxruntime_providers_tensorrt.so; \
    fi

COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && pip --python /opt/roadcue/bin/python install --no-cache-dir --no-deps --force-reinstall /wheels/roadcue-*.whl


FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="roadcue" \
      org.opencontainers.image.description="Tells which things are in a driving frame" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/roadcue /opt/roadcue
ENV PATH=/opt/roadcue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    ROADCUE_HOST=0.0.0.0 \
    ROADCUE_LOG_FORMAT=json
# Numeric, so that Kubernetes can verify runAsNonRoot; no home directory, nothing to write to.
USER 10001:10001
WORKDIR /
EXPOSE 8000
STOPSIGNAL SIGTERM
# Healthy means ready: loaded, self-tested, warmed up, not draining.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-I", "-c", \
    "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('ROADCUE_PORT', '8000') + '/health/ready', timeout=4)"]
ENTRYPOINT ["roadcue", "serve"]
