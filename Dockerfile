# The server in an image that holds nothing else: its program, the C library it needs, certificates to trust.
#
#   docker build -t openclaw-server .
#   docker run -p 127.0.0.1:8080:8080 -v openclaw:/data openclaw-server
#
# No shell is inside; `docker exec … openclaw-server doctor` looks around.

FROM rust:1.95-slim-bookworm AS build
# The C compiler for SQLite, ring and mimalloc; certificates to trust.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin openclaw-server
RUN sh docs/operations/image-root.sh target/release/openclaw-server /image

FROM scratch
COPY --from=build /image /
COPY --from=build --chown=10001:10001 /image/data /data
USER 10001:10001
# In the container every address is its own; who may reach it from outside is said where the port is published. With
# TLS files, OPENCLAW__SERVER__TLS__CERTIFICATE and __KEY, nothing needs to stand in front.
ENV PATH=/ \
    OPENCLAW__SERVER__LISTEN=0.0.0.0:8080 \
    OPENCLAW__SERVER__BEHIND_PROXY=true \
    OPENCLAW__STORE__DATA=/data \
    OPENCLAW__LOG__FORMAT=json
VOLUME /data
EXPOSE 8080
# A stop takes at most five seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=10s CMD ["/openclaw-server", "health"]
ENTRYPOINT ["/openclaw-server"]
CMD ["serve"]
