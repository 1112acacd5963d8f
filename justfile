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

# the style sheet and the scripts of the pages
assets:
    .venv/bin/python services/web/assets/build.py

# the lock of what they are built from; no addresses
lock-assets:
    cd services/web/assets && npm install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved

# the wheel of every package
wheels: assets
    for package in libs/hermes_common services/*; do uv build --wheel --out-dir dist $package; done
