"""What libFuzzer makes of the reader of answers, led on by the code that it reaches."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from pushloss_pipeline.simulator.respond import Answer, Envelope, render
from pushloss_pipeline.simulator.scenario import Scenario, many_apps
from pushloss_pipeline.simulator.truth import day_truth
from tests.domain.test_flatten import SAMPLE, printed_sample
from tests.trust.reliability import tell
from tests.world import NOW

RUNS = 500_000
LONGEST_BYTES = 4096
WORDS = (
    *("ActionStatus", "OK", "FAIL", "ErrorCode", "ErrorInfo", "ResultCode"),
    *("ResultInfo", "Results", "ReadyToSendLoss", "PostSendDeliveredLoss"),
    *("PlatformReadyToSendLoss", "PlatformPostSendDeliveredLoss", "PushPlatform"),
    *("ErrCode", "ErrCount", "ErrInfo"),
)
PIECES = (
    *('"', "{", "}", "[", "]", ":", ",", "null", "true", "NaN", "Infinity", "1e999"),
    *("9223372036854775807", "9223372036854775808", "-1", "0.0", "\\ud800", "\\u0000"),
    *("9" * 60, "\ufeff", "\u2028", "\xef\xbf\xbf"),
)
"""Of JSON, and of what is hard to read in it."""


def seeds() -> Iterator[bytes]:
    """The vendor's sample as printed and made valid, and the simulator's answers."""
    yield SAMPLE.read_bytes()
    for opening, closing in [("", ""), ('"Results": {', "}"), ('"a": [{', "}]")]:
        yield printed_sample(opening, closing)
    (app,) = many_apps(1, seed=7)
    for day in (NOW.date().replace(day=number) for number in (9, 10)):
        rows = day_truth(Scenario(7, (app,)), app.sdk_app_id, day, at=NOW)
        for envelope in get_args(Envelope):
            yield render(Answer(rows=rows), envelope)
    yield render(Answer(60002, "no"))


def dictionary() -> str:
    """The words of the API and of JSON, as libFuzzer reads them."""
    words = [f'"{word}"' for word in WORDS]
    texts = (
        "".join(f"\\x{byte:02x}" for byte in w.encode()) for w in (*words, *PIECES)
    )
    return "".join(f'"{text}"\n' for text in texts)


@pytest.mark.slow
def test_reader_of_answers(tmp_path: Path) -> None:
    """However bytes are bred, they are read or refused, and no loss is lost."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds()):
        (corpus / str(number)).write_bytes(seed)
    (tmp_path / "words").write_text(dictionary())
    arguments = [
        *(f"-runs={RUNS}", f"-max_len={LONGEST_BYTES}", "-timeout=20"),
        *(f"-dict={tmp_path / 'words'}", f"-artifact_prefix={tmp_path}/"),
        *("-rss_limit_mb=1024", "-print_final_stats=1", str(corpus)),
    ]
    fuzzed = subprocess.run(
        [sys.executable, "-m", "tests.trust.fuzz_target", *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=1200,
        check=False,
    )
    # libFuzzer names them crash-…, timeout-… and oom-…
    found = {path.name: path.read_bytes() for path in tmp_path.glob("*-*")}

    assert (0, {}) == (fuzzed.returncode, found), fuzzed.stderr[-4000:]
    (seconds,) = re.findall(r"Done \d+ runs in (\d+) second", fuzzed.stderr)
    (edges,) = re.findall(r"DONE +cov: (\d+)", fuzzed.stderr)
    tell(
        "fuzz",
        [
            {
                "read": "`read_status`, `parse_report`, `flatten`, `content_hash`",
                "inputs": f"{RUNS:,}",
                "of at most": f"{LONGEST_BYTES:,} bytes",
                "seconds": seconds,
                "edges reached": edges,
                "inputs kept for reaching more": len(list(corpus.iterdir())),
                "failures": len(found),
            }
        ],
        measured=["seconds", "edges reached", "inputs kept for reaching more"],
    )
