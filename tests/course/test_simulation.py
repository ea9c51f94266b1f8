"""The simulation of Airflow against closed forms."""

import json
from collections.abc import Generator
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from simpy import Environment, Event

from course.errors import CourseError
from course.scale import bounds
from course.scale.costs import Platform, Work
from course.scale.day import Load, Outcome, peak
from course.scale.simulation import burst, throughput
from course.scale.sizing import PROMISE, least
from course.scale.stations import Processors

from .model import FREE, MACHINE, TRUE


def test_shared_processors_are_an_mm1_queue() -> None:
    rng, env, taken = np.random.default_rng(0), Environment(), []
    cores = Processors(env, 1)

    def job(demand: float) -> Generator[Event, Any, None]:
        begin = env.now
        yield cores.serve(demand)
        taken.append(env.now - begin)

    def arrive() -> Generator[Event, Any, None]:
        for _ in range(20_000):
            yield env.timeout(rng.exponential(1 / 0.6))
            env.process(job(rng.exponential(1.0)))

    env.process(arrive())
    env.run()
    assert fmean(taken) == pytest.approx(bounds.mm1_response(0.6, 1), rel=0.05)
    assert cores.used() / env.now == pytest.approx(0.6, rel=0.03)


def test_more_jobs_than_cores_slow_each_other() -> None:
    env = Environment()
    cores, ended = Processors(env, 2), {}

    def job(name: str, after: float, demand: float) -> Generator[Event, Any, None]:
        yield env.timeout(after)
        yield cores.serve(demand)
        ended[name] = env.now

    for name, after, demand in [("a", 0, 1), ("b", 0, 2), ("c", 0.5, 1), ("d", 0.5, 1)]:
        env.process(job(name, after, demand))
    env.run()
    # Alone until 0.5, then four on two cores; from 1.5 on three, from 2.5 on one.
    assert ended == pytest.approx({"a": 1.5, "c": 2.25, "d": 2.25, "b": 2.75})
    assert cores.used() == pytest.approx(5)


def test_slots_without_costs_are_an_mmc_queue() -> None:
    load = Load(tasks_a_day=86_400, work=Work(8))
    found = peak(FREE, Platform(slots_per_worker=10), load, seed=1, watched=30_000)
    assert found.kept_up
    assert found.wait_p95_s == pytest.approx(bounds.mmc_wait(1, 8, 10, 0.95), rel=0.15)
    assert found.wait_p50_s == bounds.mmc_wait(1, 8, 10, 0.5) == 0
    assert found.utilisation_slots == pytest.approx(0.8, rel=0.03)


@pytest.mark.parametrize("jobs", [1, 2, 5, 10])
def test_a_closed_system_has_the_rate_of_mean_value_analysis(jobs: int) -> None:
    costs = replace(FREE, task=0.2, latency=0.6)
    platform = Platform(slots_per_worker=jobs, shared_cores=1)
    rate = throughput(burst(costs, platform, 1000))
    assert rate == pytest.approx(bounds.closed_throughput(0.2, 0.6, jobs), rel=0.04)
    assert rate <= 1.02 * bounds.most_tasks(costs, platform, Work())


def test_no_task_is_lost_and_no_slot_taken_twice() -> None:
    done = burst(TRUE, replace(MACHINE, slots_per_worker=8), 200, 1)
    assert len(done) == len({id(task) for task in done}) == 200
    assert all(0 <= task.scheduled < task.started < task.ended for task in done)
    moments = [(task.started, 1) for task in done] + [(task.ended, -1) for task in done]
    assert max(np.cumsum([change for _, change in sorted(moments)])) <= 8


def test_a_seed_decides_everything() -> None:
    platform, load = Platform(2), Load(200_000, work=Work(5))
    first, second, other = (peak(TRUE, platform, load, seed, 1000) for seed in (3, 3, 4))
    assert first == second != other


def test_utilisation_follows_the_law() -> None:
    platform = Platform(workers=3, api_servers=2, schedulers=2)
    load = Load(500_000, work=Work(4, cpu_share=0.2))
    found = peak(TRUE, platform, load, watched=5000)
    expected = bounds.loads(TRUE, platform, load.work)
    pairs = [
        (found.utilisation_api_server, "api server"),
        (found.utilisation_worker, "worker"),
        (found.utilisation_database, "database"),
        (found.utilisation_scheduler, "scheduler"),
        (found.utilisation_slots, "slots"),
    ]
    for utilisation, component in pairs:
        assert utilisation == pytest.approx(load.peak * expected[component], rel=0.08)


def test_more_schedulers_help_as_far_as_the_critical_section_lets_them() -> None:
    costs = replace(FREE, scheduler=0.1, critical=0.4)
    rates = [
        throughput(burst(costs, Platform(workers=20, schedulers=number), 500))
        for number in (1, 2, 3, 6)
    ]
    assert rates[0] < rates[1] <= 1.05 * 2 / costs.scheduler
    assert max(rates) <= 1.05 / costs.locked
    assert rates[3] == pytest.approx(1 / costs.locked, rel=0.1)


def test_a_queue_that_grows_is_told_by_its_growth() -> None:
    platform = Platform(workers=1, slots_per_worker=16)
    load = Load(200_000, "midnight", Work(60))
    found = peak(TRUE, platform, load, watched=3000)
    assert not found.kept_up
    assert found.bottleneck == "slots"
    assert found.throughput == pytest.approx(16 / 60.4, rel=0.4)
    assert found.wait_p95_s > 7200


def test_the_least_size_keeps_the_promise_and_half_of_it_does_not() -> None:
    load = Load(200_000, "midnight", Work(10))
    size = least(TRUE, load)
    assert size.deployments == 1
    assert size.outcome.wait_p95_s < PROMISE
    half = replace(size.platform, workers=size.workers // 2)
    assert not peak(TRUE, half, size.load, watched=3000).kept_up


def test_one_airflow_is_not_enough_where_the_critical_section_is_full() -> None:
    slow = replace(TRUE, scheduler=0.2)
    size = least(slow, Load(2_000_000, "even", Work()))
    assert size.deployments == 4
    assert size.outcome.kept_up


def test_bursts_make_tasks_wait_that_come_evenly_do_not() -> None:
    platform, load = Platform(4), Load(200_000, "even", Work(5))
    even = peak(TRUE, platform, load, watched=1500)
    bursts = peak(TRUE, platform, replace(load, arrivals="burst"), watched=1500)
    assert bursts.kept_up
    assert bursts.wait_p95_s > 3 * even.wait_p95_s
    with pytest.raises(CourseError, match="no arrivals 'monthly'"):
        replace(load, arrivals="monthly")


def test_an_outcome_is_json() -> None:
    outcome = Outcome(1, 1, 0.12345, 1, 2, 0, 0, 0, 0, 0, "slots", kept_up=True)
    assert json.loads(json.dumps(outcome.row()))["wait_p50_s"] == 0.123
