# Short names for what a developer does often; CI runs tests/run itself.

# Everything that CI checks.
all:
    ./tests/run

# Unit tests alone: quick, no server needed.
unit:
    cargo test --workspace --lib --bins

# One end-to-end story on servers of its own, such as `just story harness`.
story name:
    cargo build --workspace
    cargo test -p quittance-tests --test e2e -- {{ name }}

# Formatting and lints.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Throughput of a confirmed publish, against a private broker.
bench *arguments:
    cargo bench -p quittance-tests --bench ingest -- {{ arguments }}

# Advisories, licences and duplicate crates; needs cargo-deny.
deny:
    cargo deny check
