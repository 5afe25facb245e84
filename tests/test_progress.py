from slmtk import progress


def test_a_pipe_gets_a_line_now_and_then_with_what_is_done(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 31.0, 31.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.StreamProgress().task("train", 200, "steps") as task:
        task.advance(1, "loss 9")
        task.advance(2, "loss 8")
        task.advance(3)
    assert capsys.readouterr().err == "train: 3 of 200 steps loss 8\n"


def test_silence_is_silent(capsys):
    with progress.SilentProgress().task("train", None) as task:
        task.advance(1)
    progress.SilentProgress().message("not said")
    assert capsys.readouterr() == ("", "")
