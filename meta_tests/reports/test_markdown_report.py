"""report.md: short, whole, and safe against what it quotes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from meta_tests.miniatures.sample_run import IDS, cell, green_run, mixed_run
from meta_tests.reports.rendering import rendered, section
from modelparity.parity.results import Claim, Crashed, Mismatched, Run
from modelparity.reports.markdown import LIMIT


def all_crashed() -> Run:
    cells = (cell(name) for name in IDS)
    outcome = Crashed("run", "SIGKILL", "out of memory " * 50, "a line of the log | of some length\n" * 2000)
    return replace(green_run(), cells=tuple(replace(c, outcome=outcome) for c in cells))


def all_mismatched() -> Run:
    def broken(claim: Claim) -> Claim:
        return replace(claim, status="failed", because="why | " * 200, detail="where *\n" * 300)

    cells = (replace(c, claims=tuple(map(broken, c.claims)), outcome=Mismatched()) for c in map(cell, IDS))
    return replace(green_run(), cells=tuple(cells))


@pytest.mark.parametrize("make", [green_run, mixed_run, all_crashed, all_mismatched])
def test_markdown_is_small_and_drops_no_cell(make, tmp_path: Path) -> None:
    text = rendered(make(), tmp_path)["report.md"]
    assert len(text.encode()) < LIMIT == 60_000
    for name in IDS:
        assert f"\n### {name}\n" in text


def test_full_markdown_is_not_shortened(green: dict[str, str]) -> None:
    assert sum(len(cell(name).claims) for name in IDS) / len(IDS) > 14
    assert "Shortened" not in green["report.md"]


def test_markdown_tables_keep_their_columns(mixed: dict[str, str]) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", re.sub(r"(?s)(`{3,})text\n.*?\n\1", "", mixed["report.md"]), re.M)
    # the matrix, the cost, and the claims of every cell but the missing and the errored one
    assert len(blocks) == 2 + len(IDS) - 2
    for block in blocks:
        assert len({len(re.split(r"(?<!\\)\|", row)) for row in block.splitlines()}) == 1, block
        assert "----" not in block  # padding would spend the bytes that the words need


def test_markdown_of_a_failure_is_one_to_act_on(mixed: dict[str, str]) -> None:
    text = section(mixed["report.md"], "objectformer-tflite-int8_static")
    assert "mask SQNR = 18.2 dB, but should be >= 30 dB [int8_static: bits flip | below 24 dB" in text
    assert "worst sample 6 of 32 (東京.jpg); greatest |error| 0.213 at (0, 417)" in text
    assert "reproduce: pytest parity -k objectformer-tflite-int8_static" in text
    assert cell("objectformer-tflite-int8_static").artifact.sha256 in text
    assert "kept in float: 24 × Softmax, LayerNorm, because" in text
    assert "not asked: kernels, because" in text
    assert "plain loops take 10 s an image" in mixed["report.md"]
    assert (
        "<dt>not asked</dt><dd>kernels, because plain loops take 10 s an image</dd>" in mixed["report.html"]
    )


def test_a_fence_in_a_traceback_closes_nothing(mixed: dict[str, str]) -> None:
    assert "````text\n" in section(mixed["report.md"], "tiny_ladeda-tflite-fp16")


def test_the_worst_found_stands_beside_the_worst_of_the_stream(green: dict[str, str]) -> None:
    (worst,) = cell("objectformer_detection-onnx-fp32").worst
    words = f"score {worst.found:.4g} dB (evaluation set 41.25 dB): constant (0, 0, 255)"
    assert f"- worst input found, {words}" in green["report.md"]
    assert f"<dt>worst input found</dt><dd>{words}</dd>" in green["report.html"]


def test_floor_error_ratio_and_headroom_are_shown_for_each_output(tmp_path: Path) -> None:
    first = cell(IDS[0])
    claims = tuple(
        Claim(
            "float_parity",
            "passed",
            ratio,
            8,
            "smallest fault is at 150",
            output,
            "floors",
            "",
            "<=",
            figures,
        )
        for output, ratio, figures in (
            ("score", 1.6, {"floor": 2.5e-7, "error": 4e-7, "headroom": 5.0}),
            ("mask", 0.0, {"floor": 1.5e-7, "error": 0.0, "headroom": "inf"}),
        )
    )
    run = replace(green_run(), cells=(replace(first, claims=(*first.claims, *claims)),))
    texts = rendered(run, tmp_path)
    assert "| output | noise floor | error | error in floors | bound | headroom |" in texts["report.md"]
    assert "| score | 2.5e-07 | 4e-07 | 1.6 | 8 | 5 × |" in section(texts["report.md"], first.id)
    assert "| mask | 1.5e-07 | 0 | 0 | 8 | inf × |" in section(texts["report.md"], first.id)
    row = '<th scope="row">score</th>' + "".join(
        f'<td class="number">{text}</td>' for text in ("2.5e-07", "4e-07", "1.6", "8", "5 ×")
    )
    assert row in texts["report.html"]
    assert "headroom" not in rendered(green_run(), tmp_path / "none")["report.md"]
