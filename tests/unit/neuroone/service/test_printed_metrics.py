"""The printed table of metrics agrees with the code."""

from docs import print_metrics


def test_metrics_md_is_what_the_code_says() -> None:
    text = print_metrics.FILE.read_text(encoding="utf-8")
    assert text == print_metrics.markdown(), "print it again: python3 run.py exec python -m docs.print_metrics"
