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

# rules per second, beside other engines in an environment of their own
bench-rules *args:
    uv run --no-project --with-editable 'libs/hermes_common[rules]' --with cel-expr-python==0.1.3 --with rule-engine==5.1.0 --with asteval==1.0.10 python bench/rules/bench_rules.py {{args}}

# the rule language against atheris, which does not install everywhere and therefore is no dependency
fuzz-rules seconds="600":
    mkdir -p var/fuzz/rules
    cd var/fuzz && uv run --no-project --with-editable '{{justfile_directory()}}/libs/hermes_common[rules]' --with atheris==3.0.0 python {{justfile_directory()}}/tests/fuzz/rules.py rules -max_total_time={{seconds}}
# a million damaged PDUs against the receiver's parsers and its port
fuzz *args:
    .venv/bin/python tests/fuzz/fuzz_pdus.py {{args}}

# the receiver beside storescp and Orthanc: throughput, nagle, s3, latency, memory, attacked
bench-receive *args:
    .venv/bin/python bench/receive/bench_receive.py {{args}}

# kill, starve, deceive: the whole router under faults, and a join of all books (tests/chaos/README.md)
chaos *args:
    PYTHONPATH=tests/chaos .venv/bin/python -m hermes_chaos {{args}}

# cut the power of a disk on which the whole router lies (needs root); --unsynced is the control
power *args:
    PYTHONPATH=tests/chaos .venv/bin/python -m hermes_chaos.power {{args}}

# an ordinary load for half an hour: do memory, files and threads stay level?
soak *args:
    PYTHONPATH=tests/chaos .venv/bin/python -m hermes_chaos.soak {{args}}

# one report of several runs, from what their --record wrote
chaos-sum *args:
    PYTHONPATH=tests/chaos .venv/bin/python -m hermes_chaos.sum {{args}}

# the API against its own description, longer than in a run of the tests
api-properties examples="60":
    HERMES_API_EXAMPLES={{examples}} ./hermes test services/web/tests/test_api_properties.py -q -p no:rerunfailures

# the pictures of the README: the demo, each page in both themes
screenshots:
    ./hermes --help >/dev/null
    .venv/bin/python docs/screenshots.py
