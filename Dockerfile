# The product's two images, for amd64 and arm64; needs BuildKit (buildx).
#   docker build --target weir -t weir:0.1.0 .                       processor, generator, gateway, topics
#   docker build --target weir-operator -t weir-operator:0.1.0 .     the operator
# Both architectures, to a registry: docs/releasing.md.

ARG RUST=rust:1.95-bookworm

# What differs by architecture. Everything is compiled on the machine's own one, with gcc's cross tools: under emulation it would take hours.
FROM --platform=$BUILDPLATFORM ${RUST} AS for-amd64
ENV TARGET=x86_64-unknown-linux-gnu TOOLS=x86_64-linux-gnu

FROM --platform=$BUILDPLATFORM ${RUST} AS for-arm64
# Pages of a kernel for arm64 have 4, 16 or 64 KiB. jemalloc must know the largest (2^16 bytes) when it is compiled.
ENV TARGET=aarch64-unknown-linux-gnu TOOLS=aarch64-linux-gnu JEMALLOC_SYS_WITH_LG_PAGE=16

FROM for-${TARGETARCH} AS sources
ARG BUILDARCH
ARG TARGETARCH
RUN [ "$BUILDARCH" = "$TARGETARCH" ] || { apt-get update \
 && apt-get install --yes --no-install-recommends g++-$(echo $TOOLS | tr _ -) libc6-dev-$TARGETARCH-cross \
 && rm -rf /var/lib/apt/lists/*; }
# librdkafka's configure knows no names by target, such as CC_aarch64_unknown_linux_gnu. HOST_CC is for what runs while compiling.
ENV CC=$TOOLS-gcc CXX=$TOOLS-g++ AR=$TOOLS-ar NM=$TOOLS-nm RANLIB=$TOOLS-ranlib STRIP=$TOOLS-strip HOST_CC=gcc HOST_AR=ar
# Symbols are worth their space in a stack trace, line tables of all dependencies are not.
ENV CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo
WORKDIR /src
COPY rust-toolchain.toml .
RUN rustup target add $TARGET
COPY . .

FROM sources AS build
RUN cargo build --release --locked --target $TARGET --config "target.$TARGET.linker='$CC'" -p weir -p weir-operator \
 && mkdir /programs && cp target/$TARGET/release/weir target/$TARGET/release/weir-operator /programs
# The few libraries of C that they need, where a loader looks for them. It cannot be asked (ldd): it may be another architecture's.
RUN set -eu; \
    library() { mkdir -p "$(dirname "$2")"; cp -L "$($CC -print-file-name="$1")" "$2"; }; \
    needed() { readelf --dynamic "$@" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }; \
    loader=$(readelf --program-headers /programs/weir | sed -n 's/.*interpreter: \(.*\)\]/\1/p'); \
    library "$(basename "$loader")" "/libraries$loader"; \
    for name in $(needed /programs/*); do library "$name" "/libraries/lib/$name"; done; \
    for name in $(needed /libraries/lib/*); do library "$name" "/libraries/lib/$name"; done

# Nothing but the program: no shell, no package. Not root, and nothing to write: what it keeps is in Kubernetes.
FROM scratch AS weir-operator
COPY --from=build /libraries /
COPY --from=build /programs/weir-operator /usr/local/bin/weir-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/weir-operator"]
CMD ["run"]

# For people who change the code (docker-compose.yml, profile dev): the sources are mounted at /src; whenever one changes, the
# program is built anew and started again. entr ends when a file comes or goes, hence the loop.
FROM ${RUST} AS dev
RUN apt-get update && apt-get install --yes --no-install-recommends entr && rm -rf /var/lib/apt/lists/*
WORKDIR /src
ENV CARGO_TARGET_DIR=/target
ENTRYPOINT ["sh", "-c", "while sleep 1; do find Cargo.lock workers -type f -not -path '*/node_modules/*' | entr -dnr cargo run --locked --package weir -- \"$@\"; done", "weir"]

# The kubectl plugin, as a file: docs/releasing.md.
FROM sources AS build-kubectl
RUN cargo build --release --locked --target $TARGET --config "target.$TARGET.linker='$CC'" -p kubectl-weir \
 && mkdir /plugin && cp LICENSE target/$TARGET/release/kubectl-weir /plugin

FROM scratch AS kubectl-weir
COPY --from=build-kubectl /plugin /

# What it keeps is in Kafka.
FROM scratch AS weir
COPY --from=build /libraries /
COPY --from=build /programs/weir /usr/local/bin/weir
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["--help"]
