# One image for every role of a cluster, and for a single server: docker run hayloft serve
# docker-compose.yml builds it.

FROM python:3.11-slim-bookworm AS build
# pdqhash comes as source code only and is compiled here.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/hayloft \
 && /opt/hayloft/bin/pip install --no-cache-dir --constraint constraints.txt ".[postgres,rabbitmq]"

FROM python:3.11-slim-bookworm
# curl is what asks a container whether it is healthy.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --create-home hayloft \
 && install --directory --owner hayloft --group hayloft --mode 0700 /data
COPY --from=build /opt/hayloft /opt/hayloft
USER hayloft
WORKDIR /data
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["/opt/hayloft/bin/hayloft"]
CMD ["serve", "--host", "0.0.0.0", "--data", "/data/hayloft"]
