# The image of the `weir` command: processor, generator, gateway, topics.
#   docker build --target weir -t weir .

ARG RUST=rust:1.95-bookworm
ARG BASE=debian:bookworm-slim

FROM ${RUST} AS build
WORKDIR /src
COPY . .
# Symbols are worth their space in a stack trace, line tables of all dependencies are not.
RUN CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --release --locked -p weir

FROM ${BASE} AS weir
COPY --from=build /src/target/release/weir /usr/local/bin/weir
# Not root, and nothing to write: everything it keeps is in Kafka.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["--help"]
