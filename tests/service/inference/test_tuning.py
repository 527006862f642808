"""Plans worth measuring, and the choice between them."""

from dataclasses import replace

import pytest

from service.inference.execution import ExecutionPlan
from service.inference.tuning import (
    Choice,
    Pins,
    PlanFigures,
    batch_sizes,
    candidate_plans,
    choose,
    cpu_share,
    default_plan,
    in_words,
)

SIMPLE, THREADED, BATCHED = ExecutionPlan(2), ExecutionPlan(1, 2), ExecutionPlan(2, 2, (1, 2, 4, 8))


def figures(plan: ExecutionPlan, speed: float, p99_ms: float = 10.0, cpu_s: float = 0.02) -> PlanFigures:
    """A plan `speed` times as fast as 100 frames/s; with 20 ms of CPU a frame, speed 1 is two CPUs full."""
    return PlanFigures(
        plan=plan,
        frames_per_s=100 * speed,
        relative_speed=speed,
        latency_p50_ms=p99_ms / 2,
        latency_p99_ms=p99_ms,
        cpu_s_per_frame=cpu_s,
        frames=100,
        rounds=5,
    )


def chosen(choice: Choice | None) -> ExecutionPlan:
    assert choice is not None
    return choice.plan


def test_the_fastest_plan_is_chosen() -> None:
    choice = choose([figures(SIMPLE, 1.0), figures(THREADED, 0.8), figures(BATCHED, 1.2)])
    assert choice == Choice(BATCHED, "the fastest")


def test_a_plan_that_is_not_clearly_faster_gives_way_to_a_simpler_one() -> None:
    choice = choose([figures(SIMPLE, 1.0), figures(THREADED, 0.99), figures(BATCHED, 1.03)])
    assert choice == Choice(SIMPLE, "the simplest: none is more than 3 % faster")
    assert chosen(choose([figures(SIMPLE, 1.0), figures(BATCHED, 1.031)])) == BATCHED


def test_simple_is_without_batches_then_with_fewer_threads_then_with_fewer_workers() -> None:
    assert chosen(choose([figures(BATCHED, 1.0), figures(THREADED, 1.0), figures(SIMPLE, 1.0)])) == SIMPLE
    assert chosen(choose([figures(BATCHED, 1.0), figures(THREADED, 1.0)])) == THREADED
    assert chosen(choose([figures(ExecutionPlan(4), 1.0), figures(SIMPLE, 1.0)])) == SIMPLE


def test_the_latency_target_outweighs_speed() -> None:
    found = [figures(SIMPLE, 1.0, p99_ms=20), figures(THREADED, 0.7, p99_ms=12), figures(BATCHED, 1.5, p99_ms=90)]
    assert choose(found, 15.0) == Choice(THREADED, "the only one of those that answer 99 % of frames within 15 ms")
    assert choose(found, 20.0) == Choice(SIMPLE, "the fastest of those that answer 99 % of frames within 20 ms")
    assert chosen(choose(found, 90.0)) == BATCHED


def test_a_target_that_no_plan_honours_takes_the_nearest_and_says_so() -> None:
    choice = choose([figures(SIMPLE, 1.0, p99_ms=20), figures(THREADED, 0.7, p99_ms=12.34)], 5.0)
    assert choice == Choice(
        THREADED, "no plan answers 99 % of frames within 5 ms; this one comes nearest, with 12.3 ms"
    )


def test_where_other_programs_were_busy_the_first_plan_is_chosen() -> None:
    """60 frames/s of 20 ms on two CPUs: each worker got 60 % of one."""
    disturbed = [figures(SIMPLE, 0.6), figures(THREADED, 1.2)]
    assert cpu_share(disturbed[0], cpus=2) == 0.6
    choice = choose(disturbed, cpus=2)
    assert chosen(choice) == SIMPLE
    assert choice is not None
    assert choice.reason == "the figures tell nothing: other programs were busy and left 60 % of the CPUs"
    assert chosen(choose([figures(SIMPLE, 0.7), figures(THREADED, 1.4)], cpus=2)) == THREADED


def test_half_a_cpu_is_all_that_a_quota_of_half_a_cpu_grants() -> None:
    """25 frames/s of 20 ms are half a CPU second a second."""
    throttled = [figures(ExecutionPlan(1), 0.25), figures(ExecutionPlan(1, 1, (1, 2)), 0.5)]
    assert cpu_share(throttled[0], cpus=0.5) == 1.0
    assert chosen(choose(throttled, cpus=0.5)) == throttled[1].plan


def test_on_a_gpu_idle_cpus_are_no_disturbance() -> None:
    assert chosen(choose([figures(SIMPLE, 0.1), figures(BATCHED, 1.0)], cpus=None)) == BATCHED


def test_plans_that_do_not_fill_the_cpus_tell_nothing_of_other_programs() -> None:
    assert cpu_share(figures(THREADED, 0.1), cpus=2) is None
    assert cpu_share(figures(BATCHED, 0.1), cpus=2) is None


def test_more_workers_than_cpus_cannot_fill_more_than_there_are() -> None:
    """100 frames/s of 20 ms are 2 CPU seconds a second: all that 2 CPUs have."""
    assert cpu_share(figures(ExecutionPlan(8), 1.0), cpus=2) == 1.0


def test_only_plans_that_fit_the_pins_are_chosen() -> None:
    found = [figures(SIMPLE, 1.0), figures(THREADED, 2.0), figures(BATCHED, 3.0)]
    assert chosen(choose(found, pins=Pins(threads_per_worker=1))) == SIMPLE
    assert chosen(choose(found, pins=Pins(max_batch_frames=1))) == THREADED
    assert choose(found, pins=Pins(inference_workers=7)) is None


def test_without_figures_nothing_is_chosen() -> None:
    assert choose([]) is None


def test_batch_sizes_double_up_to_the_largest() -> None:
    assert batch_sizes(1) == (1,)
    assert batch_sizes(2) == (1, 2)
    assert batch_sizes(6) == (1, 2, 4, 6)
    assert batch_sizes(8) == (1, 2, 4, 8)


def test_candidates_on_a_cpu_share_the_cpus_out() -> None:
    """One CPU leaves nothing to share; of 16, no more than 8 go to one frame."""
    assert candidate_plans(1, on_gpu=False) == [ExecutionPlan(1), ExecutionPlan(1, 1, (1, 2, 4, 8))]
    assert candidate_plans(2, on_gpu=False) == [SIMPLE, THREADED, BATCHED]
    assert candidate_plans(16, on_gpu=False) == [
        ExecutionPlan(16),
        ExecutionPlan(8, 2),
        ExecutionPlan(4, 4),
        ExecutionPlan(2, 8),
        ExecutionPlan(16, 16, (1, 2, 4, 8)),
    ]


def test_candidates_on_a_gpu_differ_in_their_batches() -> None:
    plans = candidate_plans(8, on_gpu=True)
    assert [plan.largest_batch for plan in plans] == [16, 16, 1, 1, 4, 4, 32, 32]
    assert [plan.cuda_graphs for plan in plans] == [False, True] * 4
    assert {(plan.inference_workers, plan.threads_per_worker) for plan in plans} == {(8, 1)}


def test_pinned_parts_stand_in_every_candidate() -> None:
    assert candidate_plans(4, False, Pins(inference_workers=3)) == [
        ExecutionPlan(3),
        ExecutionPlan(3, 2),
        ExecutionPlan(3, 4),
        ExecutionPlan(3, 4, (1, 2, 4, 8)),
    ]
    assert candidate_plans(2, False, Pins(max_batch_frames=1)) == [SIMPLE, THREADED]
    assert candidate_plans(2, False, Pins(max_batch_frames=4)) == [ExecutionPlan(2, 2, (1, 2, 4))]
    assert candidate_plans(8, True, Pins(max_batch_frames=1)) == [ExecutionPlan(8), ExecutionPlan(8, cuda_graphs=True)]
    assert candidate_plans(8, True, Pins(max_batch_frames=1, cuda_graphs=True)) == [ExecutionPlan(8, cuda_graphs=True)]


@pytest.mark.parametrize(("threads", "workers"), [(1, 4), (2, 2), (3, 1), (4, 1), (8, 1)])
def test_pinned_threads_share_the_cpus_out_too(threads: int, workers: int) -> None:
    """On 4 CPUs; what is pinned beside them stays as it is."""
    pins = Pins(threads_per_worker=threads)
    assert candidate_plans(4, False, pins) == [
        ExecutionPlan(workers, threads),
        ExecutionPlan(4, threads, (1, 2, 4, 8)),
    ]
    assert default_plan(4, False, pins) == ExecutionPlan(workers, threads)
    assert default_plan(4, False, replace(pins, inference_workers=3)) == ExecutionPlan(3, threads)


def test_a_wholly_pinned_plan_leaves_no_choice() -> None:
    pins = Pins(inference_workers=3, threads_per_worker=2, max_batch_frames=1, cuda_graphs=False)
    assert pins.whole
    assert candidate_plans(4, False, pins) == [ExecutionPlan(3, 2)]
    assert not Pins(inference_workers=3, threads_per_worker=2, cuda_graphs=False).whole
    assert not Pins(inference_workers=3, threads_per_worker=2, max_batch_frames=1).whole


def test_graphs_are_taken_where_they_are_clearly_faster() -> None:
    plain, graphs = (ExecutionPlan(8, batch_sizes=(1, 2), cuda_graphs=graphs) for graphs in (False, True))
    assert chosen(choose([figures(plain, 1.0), figures(graphs, 1.2)])) == graphs
    assert chosen(choose([figures(plain, 1.0), figures(graphs, 1.001)])) == plain


def test_the_default_is_a_worker_on_each_cpu_and_batches_on_a_gpu() -> None:
    assert default_plan(3, on_gpu=False) == ExecutionPlan(3)
    assert default_plan(3, on_gpu=True) == ExecutionPlan(3, 1, (1, 2, 4, 8, 16))


def test_a_plan_has_words() -> None:
    assert in_words(SIMPLE) == "2 workers x 1 thread"
    assert in_words(ExecutionPlan(1, 4, (1, 2, 4))) == "1 worker, batches up to 4 x 4 threads"
