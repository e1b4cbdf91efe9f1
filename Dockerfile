# One image per service: docker build --build-arg SERVICE=ws-gateway .
# SERVICE is the command: serial-bridge, ws-gateway or csv-recorder. EXTRAS are those of pyproject.toml, by default
# SERVICE alone. Images with the same extras share all layers but the last: they are built and stored once.
ARG SERVICE
ARG EXTRAS=$SERVICE
ARG PYTHON_IMAGE=python:3.13.9-slim

FROM $PYTHON_IMAGE AS build
WORKDIR /build
COPY requirements.lock ./
ENV UV_SYSTEM_CERTS=1 UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1
# The locked uv and the locked builder, in a directory that is not copied to the final image.
RUN python -m venv /tools \
 && awk '/^[^ ]/ {take = /^uv==/} take' requirements.lock >uv.txt \
 && /tools/bin/pip install --quiet --no-cache-dir --require-hashes -r uv.txt \
 && grep -o '^hatchling==[^ ]*' requirements.lock | /tools/bin/uv pip install --quiet --python /tools/bin/python \
    --require-hashes -r - --constraints requirements.lock
RUN python -m venv --without-pip /app

# The layer of the lock: only what these extras need, in the locked versions, hashes verified.
ARG EXTRAS
COPY pyproject.toml ./
RUN for extra in $EXTRAS; do set -- "$@" --extra "$extra"; done \
 && /tools/bin/uv pip install --quiet --python /app/bin/python --require-hashes \
    -r pyproject.toml "$@" --constraints requirements.lock

# The layer of the project.
COPY README.md ./
COPY neuroone ./neuroone
COPY services ./services
COPY clients/*.js ./clients/
RUN /tools/bin/hatchling build -t wheel -d /dist \
 && /tools/bin/uv pip install --quiet --python /app/bin/python --no-deps /dist/*.whl

FROM $PYTHON_IMAGE
COPY --from=build /app /app
# A service writes to /data; a named volume mounted there gets the same owner.
# To /status each one writes a file of its own, whatever its user. A node of a cluster keeps its state in /nats.
RUN install -d -o 10001 -g 10001 /data && install -d -o 10005 -g 10005 -m 700 /nats && install -d -m 755 /secrets && install -d -m 1777 /status
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1
# A link instead of a shell: SIGTERM reaches the service itself.
ARG SERVICE
RUN ln -s "/app/bin/$SERVICE" /app/service
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["/app/service"]
