import io

from rich.console import Console

from model_training.trainer import Progress
from model_training.training_progress import in_turn, shown

LABELS = ("car", "stop_sign")


def epoch(number, mean=0.75):
    return {"epoch": number, "loss": 0.5, "map": mean, "ap_car": 0.9, "ap_stop_sign": float("nan")}


def printed(*reports):
    """What stands on a console that is no terminal after these reports, which is where it ends up in a log."""
    text = io.StringIO()
    with shown(LABELS, Console(file=text, width=160)) as observe:
        for report in reports:
            observe(report)
    return text.getvalue()


def test_finished_epoch_is_a_line_with_loss_and_precisions():
    text = printed(Progress(1, 10, 20, 0.5, [epoch(0)]))
    assert "epoch 0  loss 0.5000  mAP 0.750  car 0.900  stop_sign nan\n" in text


def test_each_epoch_is_printed_once():
    history = [epoch(0), epoch(1, 0.8)]
    text = printed(
        Progress(0, 5, 20, 0.9, []),
        Progress(1, 10, 20, 0.5, history[:1]),
        Progress(1, 11, 20, 0.5, history[:1]),
        Progress(2, 20, 20, 0.4, history),
    )
    assert text.count("epoch 0  loss") == 1
    assert text.count("epoch 1  loss") == 1


def test_resumed_run_shows_the_epochs_before():
    text = printed(Progress(2, 25, 40, 0.4, [epoch(0), epoch(1)]))
    assert "epoch 0  loss" in text
    assert "epoch 1  loss" in text


def test_bar_shows_steps_loss_and_the_last_precisions():
    text = printed(Progress(1, 12, 40, 0.4321, [epoch(0)]))
    assert "12/40" in text
    assert "loss 0.432 mAP 0.750  car 0.900" in text


def test_run_without_a_step_leaves_the_console_in_order():
    assert "0/?" in printed()


def test_networks_are_announced_with_the_time_that_the_others_may_take(monkeypatch):
    """The first of three took two minutes: two more take four."""
    clock = iter([0.0, 0.0, 120.0, 240.0])
    monkeypatch.setattr("model_training.training_progress.time.monotonic", lambda: next(clock))
    text = io.StringIO()
    assert list(in_turn(["a", "b", "c"], Console(file=text, width=160))) == ["a", "b", "c"]
    assert text.getvalue().splitlines() == [
        "network 1 of 3: a",
        "network 2 of 3: b, about 4 min left",
        "network 3 of 3: c, about 2 min left",
    ]
