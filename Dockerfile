# syntax=docker/dockerfile:1
# One image for workers and controller, for CPU and GPU.
#
#   docker build -t captionless .                     without a compiler: torch.compile stays off
#   docker build -t captionless --target compile .    with one
#
# The dependencies are one layer, made from the lock file alone; the package is a small last one, so that a
# change of the code moves kilobytes. torch of the lock file carries CUDA and runs without it; for a smaller
# one pass EXTRA_INDEX_URL and a REQUIREMENTS file locked against that index (hashes differ between them).

# Any Debian or Ubuntu with python3 >= 3.11, its venv module and ca-certificates: the official slim images
# have them, and so has `debootstrap --include=python3-venv,ca-certificates`.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG UV_VERSION=0.13.8

FROM ${BASE_IMAGE} AS base

FROM base AS dependencies
ARG UV_VERSION
ARG REQUIREMENTS=requirements.runtime.lock
ARG EXTRA_INDEX_URL=""
COPY ${REQUIREMENTS} /tmp/requirements.lock
# Bytecode is compiled here, since the pods' root file system is read-only. The system's certificates are used,
# so that an authority of one's own network counts too. Without a cache mount uv links what it unpacked, instead
# of copying gigabytes from another file system.
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --quiet --cert /etc/ssl/certs/ca-certificates.crt "uv==${UV_VERSION}" \
    && python3 -m venv --without-pip /opt/captionless \
    && UV_SYSTEM_CERTS=1 UV_EXTRA_INDEX_URL="${EXTRA_INDEX_URL}" /opt/uv/bin/uv pip install --quiet --no-cache \
        --python /opt/captionless/bin/python --compile-bytecode --require-hashes --requirement /tmp/requirements.lock \
    && rm -r /opt/uv /tmp/requirements.lock

# The package alone, where the dependencies will be.
FROM base AS package
ARG UV_VERSION
RUN python3 -m venv --without-pip /opt/captionless \
    && python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --quiet --cert /etc/ssl/certs/ca-certificates.crt "uv==${UV_VERSION}"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN UV_SYSTEM_CERTS=1 /opt/uv/bin/uv pip install --quiet --no-cache --python /opt/captionless/bin/python \
        --compile-bytecode --no-deps . \
    # An image keeps whole seconds of a file's time, and numba compares it.
    && find /opt/captionless/lib -path '*/captionless/*.py' \
        -exec sh -c 'for file; do touch --date="@$(stat --format=%Y "$file")" "$file"; done' sh {} +

FROM dependencies AS slim
COPY --from=package /opt/captionless /opt/captionless
LABEL org.opencontainers.image.title="captionless" \
      org.opencontainers.image.description="Teach a 3D point-cloud encoder to see as CLIP does, without captions." \
      org.opencontainers.image.licenses="Apache-2.0"
# All that is written goes to /tmp, where pods mount an emptyDir. LOGNAME answers `getpass.getuser` for a
# user without a name.
ENV PATH=/opt/captionless/bin:$PATH \
    HOME=/tmp TMPDIR=/tmp XDG_CACHE_HOME=/tmp/.cache NUMBA_CACHE_DIR=/tmp/.cache/numba LOGNAME=captionless \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CAPTIONLESS_NUMBA_CACHE=/opt/captionless/numba-cache
WORKDIR /tmp
# The stages on a few objects, a step of the encoder and a ranking show that the image works, and compile the kernels
# for the processor of the machine that builds. Pods on another kind compile their own.
RUN printf '%s\n' 'output: /tmp/smoke' 'clip: {model: captionless-demo}' 'landmarks: {count: 8}' \
        'data: {source: {kind: parametric, objects: 12, testObjects: 6, categories: [chair, lamp]},' \
        '  views: 4, imageSize: 64, points: 128}' \
        'train: {weights: [avg], points: 64}' > smoke.yaml \
    && export NUMBA_CACHE_DIR=${CAPTIONLESS_NUMBA_CACHE} \
    && captionless list smoke.yaml && captionless pack smoke.yaml && captionless embed smoke.yaml \
    && captionless landmarks smoke.yaml \
    && captionless similarity --metric i2i smoke.yaml && captionless similarity --metric i2l smoke.yaml \
    && python -c "import torch; \
        from captionless.eval import retrieval; \
        from captionless.store import embeddings, similarity_store; \
        from captionless.trainer import encoders; \
        from captionless.trainer.ops import point_sets; \
        objects = embeddings.open_embeddings('/tmp/smoke/embed', 'train'); \
        similarity_store.open_similarity('/tmp/smoke/similarity/i2i').lookup(objects.keys); \
        encoder = encoders.build('pointnext-s', embed_dim=8, width=8, nsample=8); \
        clouds = torch.from_numpy(objects.points(range(4))[..., :3]).float(); \
        point_sets.farthest_point_sample(clouds, 64); \
        encoder(clouds).sum().backward(); \
        found = encoder.eval().requires_grad_(False)(clouds).numpy(); \
        retrieval.gallery(found, found, range(len(found)))" \
    && find /tmp -mindepth 1 -delete
USER 65532:65532
ENTRYPOINT ["captionless"]

FROM slim AS compile
USER 0:0
# The compiler, and Python's headers where the base has none of its own.
# hadolint ignore=DL3008  # as above
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && if ! python3 -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null; then \
        apt-get install -y --no-install-recommends python3-dev; fi \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/* /var/log/*.log /var/log/apt
USER 65532:65532

# The default: the last stage of the file.
FROM slim
