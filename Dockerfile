# sarcast for CPUs. Build: docker build --tag sarcast:latest .
# TORCH_INDEX is an index of packages with torch for CPUs alone, which saves gigabytes of CUDA.
FROM python:3.11-slim AS build
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/sarcast
WORKDIR /build
COPY constraints.txt ./
RUN /opt/sarcast/bin/pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/sarcast/bin/pip install -c constraints.txt .

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 sarcast && mkdir /data && chown sarcast /data
COPY --from=build /opt/sarcast /opt/sarcast
ENV PATH=/opt/sarcast/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
USER sarcast
WORKDIR /data
ENTRYPOINT ["sarcast"]
CMD ["--help"]
