# syntax=docker/dockerfile:1
#
#   docker build -t sluicegate .
#   docker run -p 8080:8080 -v ./gateway.toml:/etc/sluicegate/gateway.toml:ro sluicegate
#
# The configuration is mounted. In a container `server.listen` is "0.0.0.0:8080", and
# `admin.listen` is "0.0.0.0:9090" if another container scrapes it: publish 9090 to nobody else.

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies in a layer of their own: it is built anew only when Cargo.toml or Cargo.lock is.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --release \
    && rm -r src

COPY gateway.toml ./
COPY lua ./lua
COPY src ./src
# Cargo compares times: sources older than the layer above would pass for built.
RUN touch src/lib.rs src/main.rs && cargo build --locked --release

FROM debian:bookworm-slim
# Pingora reads the system's root certificates when it starts, and TLS to Redis at each connection.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin sluicegate
COPY --from=build /build/target/release/sluicegate /usr/local/bin/sluicegate
USER 10001
EXPOSE 8080 9090
# It drains; SIGHUP reloads. Give it more time than `lame_duck` and `drain_timeout` take together:
# `docker stop --time 40`.
STOPSIGNAL SIGTERM

# Whether the process runs, not whether it takes traffic: a gateway that drains is healthy. bash
# speaks TCP, so the image needs no HTTP client; an orchestrator better asks /livez and /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /livez HTTP/1.0\\r\\n\\r\\n' >&3; read -r line <&3; [[ $line == *' 200 '* ]]"]

# No shell in between: the gateway is the first process, and signals are its own.
ENTRYPOINT ["sluicegate"]
CMD ["run", "--config", "/etc/sluicegate/gateway.toml"]
