"""`hermes test`: which checks run, and what the exit code says."""

from pathlib import Path

from hermes_local import testrun

ROOT = Path(__file__).resolve().parents[3]


def test_the_checks_cover_the_contracts_and_every_core():
    names = [[Path(step[0]).name, *step[1:]] for step in testrun.checks(ROOT)]
    assert [step[0] for step in names][:2] == ["ruff", "mypy"]
    typed = next(step for step in names if step[0] == "mypy")
    assert {"libs/hermes_common/src", "deploy/local/src/hermes_local/core"} <= set(typed)


def test_pytest_runs_after_a_failed_check_and_the_exit_code_tells(monkeypatch):
    ran = []

    def run(_console, command, _root):
        ran.append(Path(command[0]).name)
        return {"ruff": 1}.get(ran[-1], 0)

    monkeypatch.setattr(testrun, "_run", run)
    assert testrun.run_tests([], root=ROOT) == 1
    assert ran[0] == "ruff"
    assert ran[-1] == "pytest"


def test_arguments_go_to_pytest_alone(monkeypatch):
    ran = []
    monkeypatch.setattr(testrun, "_run", lambda _console, command, _root: ran.append(command[1:]) or 5)
    assert testrun.run_tests(["-k", "a b", "-x"], root=ROOT) == 5
    assert ran == [["-k", "a b", "-x"]]
