# What people who work on Hermes type. Everything goes through ./hermes, which makes the environment.

default:
    @just --list

# the whole router on this machine
up *args:
    ./hermes up {{args}}

# all checks and tests, or pytest with the given arguments
test *args:
    ./hermes test {{args}}

# format and mend what ruff can mend
format:
    .venv/bin/ruff format .
    .venv/bin/ruff check --fix .

# schemas of the events, and golden messages for new ones
contracts:
    .venv/bin/python tests/contract/regenerate.py

# the lock: exact versions with hashes, no addresses
lock:
    uv export --quiet --format requirements-txt --no-emit-workspace --all-groups --no-header --no-annotate --output-file requirements.lock

# the wheel of every package
wheels:
    for package in libs/hermes_common services/*; do uv build --wheel --out-dir dist $package; done

# a million damaged PDUs against the receiver's parsers and its port
fuzz *args:
    .venv/bin/python tests/fuzz/fuzz_pdus.py {{args}}

# the receiver beside storescp and Orthanc: throughput, nagle, s3, latency, memory, attacked
bench-receive *args:
    .venv/bin/python bench/receive/bench_receive.py {{args}}
