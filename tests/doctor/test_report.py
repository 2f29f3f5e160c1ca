"""The report of an examination."""

from dataclasses import asdict

from kmnist.doctor import Check, Finding, Report

PROBLEM = Finding("it is broken", "it was dropped", "repair it")
WARNING = Finding("it is old", "time passes", "replace it", is_problem=False)


def test_a_check_accepts_any_iterable_of_findings() -> None:
    assert Check.of("age", iter([WARNING])) == Check("age", (WARNING,))
    assert Check.of("age") == Check("age", ())


def test_a_report_lists_the_findings_of_all_checks() -> None:
    report = Report("it", (Check.of("age", [WARNING]), Check.of("state", [PROBLEM])))
    assert report.findings == [WARNING, PROBLEM]


def test_a_problem_makes_a_report_unhealthy_and_a_warning_does_not() -> None:
    assert Report("it", (Check.of("age"),)).is_healthy
    assert Report("it", (Check.of("age", [WARNING]),)).is_healthy
    assert not Report("it", (Check.of("age", [WARNING, PROBLEM]),)).is_healthy


def test_a_report_becomes_json_without_further_conversion() -> None:
    assert asdict(Report("it", (Check.of("state", [PROBLEM]),))) == {
        "target": "it",
        "checks": (
            {
                "title": "state",
                "findings": (
                    {
                        "what": "it is broken",
                        "why": "it was dropped",
                        "do": "repair it",
                        "is_problem": True,
                    },
                ),
            },
        ),
        "broken": (),
    }
