"""Feeds the reader of answers with what libFuzzer makes up; run by `test_fuzz.py`.

Arguments are libFuzzer's. What is neither read nor refused ends the run, and its bytes
are written to where `-artifact_prefix` says.
"""

import sys

import atheris

with atheris.instrument_imports(include=["pushloss_pipeline.domain"]):
    from pushloss_pipeline.domain.errors import BadPayload
    from pushloss_pipeline.domain.flatten import content_hash, flatten
    from pushloss_pipeline.domain.parse import parse_report, read_status


def read(body: bytes) -> None:
    """Read a body as the pipeline does."""
    (read_status(body).error_info or "").encode()
    try:
        report = parse_report(body)
        rows, oddities = flatten(report)
    except BadPayload as refusal:
        (refusal.place + str(refusal)).encode()
        return
    "".join((report.envelope, *report.warnings, *oddities)).encode()
    content_hash(rows)
    assert sum(row.err_count for row in rows) == sum(
        entry.err_count for entry in report.entries
    )


if __name__ == "__main__":
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
