from __future__ import annotations

from pathlib import Path

DEMO = Path(__file__).parent.parent / "examples" / "demo"


def test_the_demo_prints_its_table(run_tach, tach_run_dir) -> None:
    """The program that the README shows first runs as without tach, and its numbers are exact."""
    done = run_tach(DEMO / "tach.yaml", "python", "-W", "ignore", DEMO / "service.py")
    rows = [line.split() for line in done.stderr.splitlines()]
    calls = {row[0]: row[1:3] for row in rows if len(row) > 10}

    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 workers have served 1000 customers\n"
    assert calls == {
        "checkout": ["1000", "140"],
        "payment": ["900", "40"],
        "catalogue.find": ["1000", "100"],
        "catalogue.load": ["2", "-"],
        "price": ["900", "-"],
    }
    assert "checkout: 100 OutOfStock, 40 PaymentRefused" in done.stderr.splitlines()
    assert list(tach_run_dir.iterdir()) == []
