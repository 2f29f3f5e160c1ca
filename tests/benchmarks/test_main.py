"""``python -m benchmarks``: which runs write RESULTS.md, and what becomes of a failure."""

from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.harness import Options


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A RESULTS.md in place of the tracked one, and benchmarks that measure nothing."""

    def measure(name: str, options: Options) -> str:
        if name == "client" and options.rounds == 2:
            raise RuntimeError("the server ended\nwith a long explanation")
        return f"## {name}\n\n{options.rounds} rounds\n"

    path = tmp_path / "RESULTS.md"
    path.write_text("a full run")
    monkeypatch.setattr(benchmarks, "RESULTS", path)
    monkeypatch.setattr(benchmarks, "measure_apart", measure)
    return path


def test_a_full_run_writes_all_sections(results: Path) -> None:
    assert benchmarks.main([]) == 0
    page = results.read_text()
    places = [page.index(f"## {name}\n\n5 rounds") for name in benchmarks.NAMES]
    assert places == sorted(places)


@pytest.mark.parametrize("arguments", [["--only", "client"], ["--quick"]])
def test_another_run_prints_its_page(
    arguments: list[str], results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks.main(arguments) == 0
    assert results.read_text() == "a full run"
    assert "## client" in capsys.readouterr().out


def test_another_run_can_write_to_a_file(results: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.md"
    assert benchmarks.main(["--only", "client", "--output", str(output)]) == 0
    assert results.read_text() == "a full run"
    assert "## client" in output.read_text()


@pytest.mark.parametrize("arguments", [["--only", "client"], ["--quick"]])
def test_another_run_refuses_to_write_results(arguments: list[str], results: Path) -> None:
    with pytest.raises(SystemExit) as info:
        benchmarks.main([*arguments, "--output", str(results)])
    assert info.value.code == 2
    assert results.read_text() == "a full run"


def test_a_failure_is_reported_in_its_place(results: Path) -> None:
    assert benchmarks.main(["--rounds", "2"]) == 1
    page = results.read_text()
    assert "## Client\n\nFailed: RuntimeError: the server ended\n\nTook" in page
    assert page.index("## training") < page.index("## Client") < page.index("## serving")


def test_a_run_needs_a_round() -> None:
    with pytest.raises(SystemExit):
        benchmarks.main(["--rounds", "0"])
