# The product's two images, compiled once.
#   docker build --target weir -t weir:0.1.0 .                       processor, generator, gateway, topics
#   docker build --target weir-operator -t weir-operator:0.1.0 .     the operator

ARG RUST=rust:1.95-bookworm

FROM ${RUST} AS build
WORKDIR /src
COPY . .
# Symbols are worth their space in a stack trace, line tables of all dependencies are not.
RUN CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=debuginfo \
    cargo build --release --locked -p weir -p weir-operator
# The few libraries of C that they need, where a loader looks for them.
RUN mkdir /libraries \
 && for program in weir weir-operator; do ldd target/release/$program; done \
    | grep -o '/lib[^ ]*' | sort -u | xargs -I{} cp --parents -L {} /libraries

# Nothing but the program: no shell, no package. Not root, and nothing to write: what it keeps is in Kubernetes.
FROM scratch AS weir-operator
COPY --from=build /libraries /
COPY --from=build /src/target/release/weir-operator /usr/local/bin/weir-operator
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

# What it keeps is in Kafka.
FROM scratch AS weir
COPY --from=build /libraries /
COPY --from=build /src/target/release/weir /usr/local/bin/weir
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["--help"]
