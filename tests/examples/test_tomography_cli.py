"""The command line of the tomography example: nonsense gets one line that says what to do."""

import numpy as np
import pytest

from examples.ultrasound_tomography.__main__ import main, make_parser


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "at least 1"),
        (["--workers", "two"], "whole number"),
        (["--shots", "129"], "at most 128"),
        (["--shots", "-1"], "at least 1"),
        (["--iterations", "0"], "at least 1"),
        (["--iterations", "1.5"], "whole number"),
        (["--seed", "-3"], "at least 0"),
        (["--width", "wide"], "between 10 and 1000 mm"),
        (["--width", "nan"], "between 10 and 1000 mm"),
        (["--output", "figure.doc"], ".png, .pdf, .svg"),
        (["--output", "/proc/nowhere/figure.png"], "/proc/nowhere/figure.png"),
        (["--model", "nowhere.h5"], "no such file"),
        (["--model", "model.mat"], "use one of .npy"),
        (["--colour", "blue"], "--colour"),
    ],
    ids=" ".join,
)
def test_nonsense_gets_one_line_and_status_2(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    printed, complaint = capsys.readouterr()
    assert printed == ""
    assert complaint.count("\n") == 1
    assert complaint.startswith("ultrasound_tomography: error: ")
    assert message in complaint


def test_model_in_wrong_units_gets_one_line_and_status_2(capsys, tmp_path):
    path = tmp_path / "km_per_s.npy"
    np.save(path, np.full((20, 20), 1.5))
    with pytest.raises(SystemExit) as end:
        main(["--model", str(path), "--output", str(tmp_path)])
    assert end.value.code == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "multiply by 1000" in complaint


def test_output_may_be_a_folder_or_a_figure(tmp_path):
    def output(path):
        return make_parser().parse_args(["--output", str(path)]).output

    assert output(tmp_path / "new") == tmp_path / "new" / "ultrasound_tomography.png"
    assert (tmp_path / "new").is_dir()
    assert output(tmp_path / "some.svg") == tmp_path / "some.svg"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for option in ("workers", "shots", "iterations", "output", "model", "seed", "width"):
        assert f"--{option}" in text
