"""`analysis.growth`, `analysis.pace` and `analysis.suspects`: what grows is found, what does not is left alone."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heaptop.analysis.diff import Delta
from heaptop.analysis.growth import CLASSES_MAX, Clockwork, Tracker
from heaptop.analysis.suspects import INODES_MAX, Judge, Kind, growth_of
from tests.analysis.builders import buffer, holder
from tests.analysis.worlds import APP, CAMERA, MEDIA, World

KID = holder(31, "app:kid")


def kinds(world: World) -> set[Kind]:
    return {verdict.kind for verdict in world.growth.verdicts}


def test_a_plain_leak() -> None:
    world = World()
    for _ in world.pass_(20):
        world.new(name="codec-out")
        world.new(name="codec-out")
    (suspect,) = world.suspects
    assert (suspect.key.exporter, suspect.key.size_bytes, suspect.name) == ("system", 16384, "codec-out")
    assert (suspect.key.holder, suspect.various) == ("mediaserver", ())
    assert suspect.growth_per_minute == pytest.approx(120)
    assert suspect.growth_bytes_per_minute == pytest.approx(120 * 16384)
    assert suspect.confidence > 0.8
    evidence = suspect.evidence
    assert evidence is not None
    assert (evidence.first_seen, evidence.last_seen, evidence.age_s, evidence.sightings) == (1, 20, 19, 20)
    assert [(share.process.pid, share.comm, share.buffers) for share in evidence.holders] == [(10, "mediaserver", 36)]
    assert evidence.inodes[:3] == (1, 2, 3)
    trend = world.growth.trend(suspect)
    assert trend[0] < trend[-1]


def test_no_verdict_on_few_sightings() -> None:
    world = World()
    for _ in world.pass_(5):
        world.new()
    assert world.suspects == ()


def test_what_was_there_at_first_proves_nothing() -> None:
    world = World()
    for _ in range(100):
        world.new()
    for _ in world.pass_(60):
        pass
    assert kinds(world) == {Kind.PLATEAU}


def test_a_pool_that_has_filled_is_a_plateau() -> None:
    world = World()
    for now in world.pass_(100):
        if now <= 12:
            world.new(name=None, size_bytes=1 << 20, holders=[APP])
    (verdict,) = world.growth.verdicts
    assert (verdict.kind, verdict.count, verdict.since) == (Kind.PLATEAU, 12, 12)


def test_one_step_is_no_growth() -> None:
    world = World()
    for now in world.pass_(100):
        if now == 50:
            for _ in range(20):
                world.new()
    assert kinds(world) == {Kind.PLATEAU}


def test_a_ring_is_no_growth_however_seldom_it_turns() -> None:
    for turn_s in (1, 4, 15):
        world = World()
        ring = [world.new() for _ in range(8)]
        for now in world.pass_(600):
            if now % turn_s == 0:
                del world.buffers[ring.pop(0)]
                ring.append(world.new())
            if now % 10 == 0:
                assert world.suspects == ()


def test_a_ring_of_several_sizes_reshuffles() -> None:
    for seed in range(5):
        world = World(seed)
        sizes = (1 << 18, 1 << 20, 1 << 22)
        ring = [world.new(world.random.choice(sizes), "texture 512") for _ in range(6)]
        for now in world.pass_(600):
            if now % 4 == 0:
                del world.buffers[ring.pop(0)]
                ring.append(world.new(world.random.choice(sizes), f"texture {world.random.randrange(900)}"))
            assert world.suspects == ()


def test_a_cache_that_is_emptied_now_and_then_is_known_by_that() -> None:
    world = World()
    mine: list[int] = []
    for now in world.pass_(300):
        mine.append(world.new())
        if len(mine) == 40:
            for inode in mine:
                del world.buffers[inode]
            mine.clear()
        assert now < 45 or world.suspects == ()


@pytest.mark.parametrize("tail", ["exponential", "uniform", "heavy"])
@pytest.mark.parametrize("seed", range(3))
def test_a_storm_raises_no_suspect(tail: str, seed: int) -> None:
    world = World(seed)
    for now in world.pass_(600):
        world.storm(20, 2.0 if tail == "heavy" else 5.0, tail)
        if now % 20 == 0:
            assert world.suspects == ()


@pytest.mark.parametrize("tail", ["exponential", "uniform", "heavy"])
def test_a_slow_leak_in_a_storm_of_its_own_class_is_found(tail: str) -> None:
    world = World(1)
    for now in world.pass_(600):
        world.storm(20, 2.0, tail)
        if now % 5 == 0:
            world.new(4096, "frame 1", (CAMERA,))
    assert world.suspects
    first = world.suspects[0]
    assert (first.key.size_bytes, first.key.holder) == (4096, "cameraserver")
    assert first.growth_per_minute == pytest.approx(12, rel=0.2)


def test_a_leak_that_begins_late_is_found_soon() -> None:
    world = World()
    for now in world.pass_(620):
        world.storm(5, 1.0)
        if now > 600:
            world.new(name="late")
    assert [suspect.name for suspect in world.suspects] == ["late"]


def test_a_leak_after_a_warm_up() -> None:
    world = World()
    for now in world.pass_(600):
        if now <= 20 or now % 30 == 0:
            world.new()
    (suspect,) = world.suspects
    assert suspect.growth_per_minute == pytest.approx(2, rel=0.1)


def test_a_leak_in_bursts() -> None:
    world = World()
    for now in world.pass_(600):
        if now % 60 == 0:
            for _ in range(10):
                world.new()
    (suspect,) = world.suspects
    assert suspect.growth_per_minute == pytest.approx(10, rel=0.2)


def test_numbered_names_are_one_class() -> None:
    world = World()
    for now in world.pass_(30):
        world.new(name=f"codec-out-{now:.0f}")
    (suspect,) = world.suspects
    assert (suspect.name, suspect.various) == ("codec-out-#", ())
    assert suspect.evidence is not None
    assert "codec-out-1" in suspect.evidence.names


def test_random_names_are_found_together() -> None:
    world = World()
    for _ in world.pass_(30):
        world.new(name="".join(world.random.choices("ghijklmnop", k=8)))
    (suspect,) = world.suspects
    assert (suspect.name, suspect.various, suspect.key.size_bytes) == (None, ("name",), 16384)


def test_a_ring_of_names_that_never_come_again() -> None:
    """Each class dies out with its only buffer; together they tell how old such buffers get."""
    world = World()
    ring: list[int] = []
    for now in world.pass_(200):
        if len(ring) == 10:
            del world.buffers[ring.pop(0)]
        ring.append(world.new(4096 * world.random.randrange(1, 99), "".join(world.random.choices("ghijklmnop", k=8))))
        assert now < 20 or world.suspects == ()


def test_buffers_that_grow_in_size() -> None:
    world = World()
    for now in world.pass_(30):
        world.new(int(now) * 4096, "log")
    (suspect,) = world.suspects
    assert (suspect.name, suspect.key.size_bytes, suspect.various) == ("log", None, ("size",))
    assert suspect.evidence is not None
    assert suspect.evidence.sizes_bytes[:3] == (4096, 8192, 12288)


def test_holders_that_differ() -> None:
    world = World()
    for now in world.pass_(40):
        world.new(name="fb", holders=[holder(10, "surfaceflinger"), holder(100 + int(now), f"app-{int(now) % 10:x}")])
    (suspect,) = world.suspects
    assert (suspect.name, suspect.key.holder, suspect.various) == ("fb", "surfaceflinger", ("holder",))


def test_nobody_holds_it() -> None:
    world = World()
    for _ in world.pass_(30):
        world.new(name="in-flight", holders=())
    (suspect,) = world.suspects
    assert suspect.key.holder == "nobody seen"


def test_a_child_that_inherits_and_a_parent_that_closes() -> None:
    world = World()
    mine: list[int] = []
    for _ in world.pass_(40):
        if mine:
            world.give(mine[-1], KID)
        mine.append(world.new(name="fork", holders=[APP, KID]))
    (suspect,) = world.suspects
    assert (suspect.name, suspect.key.holder) == ("fork", "app:kid")


def test_a_process_that_is_started_anew_leaks_on() -> None:
    world = World()
    mine: list[int] = []
    for now in world.pass_(100):
        me = MEDIA._replace(process=holder(10 if now < 60 else 77).process)
        if now == 60:
            for inode in mine:
                del world.buffers[inode]
        mine.append(world.new(holders=[me]))
    (suspect,) = world.suspects
    assert suspect.growth_per_minute == pytest.approx(60, rel=0.1)


def test_a_handover_is_no_growth() -> None:
    world = World()
    pool = [world.new(holders=[CAMERA]) for _ in range(60)]
    for _ in world.pass_(60):
        world.give(pool.pop(), APP)
    assert world.suspects == ()


def test_one_miss_is_no_death() -> None:
    world = World()
    leaked: list[int] = []
    for now in world.pass_(60):
        leaked.append(world.new())
        if now % 7 == 0:
            hidden = world.buffers.pop(leaked[3])
        elif now % 7 == 1 and now > 1:
            world.buffers[hidden.inode] = hidden
    (suspect,) = world.suspects
    assert suspect.growth_per_minute == pytest.approx(60)


def test_the_largest_growth_comes_first() -> None:
    world = World()
    for _ in world.pass_(30):
        world.new(4096, "small")
        world.new(1 << 20, "large")
    assert [suspect.name for suspect in world.suspects] == ["large", "small"]


def test_an_unknown_size_and_exporter() -> None:
    tracker = Tracker((), 0.0)
    for at in range(1, 30):
        tracker.follow(Delta((buffer(at, None, exporter=None, holders=[APP]),), (), (), 0, 0), float(at))
    (suspect,) = growth_of(tracker).suspects
    assert (suspect.key.exporter, suspect.key.size_bytes, suspect.size_bytes) == (None, None, 0)


def test_what_is_kept_is_bounded() -> None:
    tracker = Tracker((), 0.0)
    for at in range(1, 2000):
        fresh = tuple(buffer(at * 100 + each, 4096 * at * (each + 1)) for each in range(20))
        old = tuple(buffer((at - 1) * 100 + each, 4096 * (at - 1) * (each + 1)) for each in range(20)) if at > 1 else ()
        tracker.follow(Delta(fresh, old, (), 0, 0), float(at))
    assert len(tracker.stories) <= CLASSES_MAX + 20
    leak = Tracker((), 0.0)
    for at in range(1, 1000):
        leak.follow(Delta((buffer(at),), (), (), 0, 0), float(at))
    (suspect,) = growth_of(leak).suspects
    assert suspect.evidence is not None
    assert (len(suspect.evidence.inodes), suspect.evidence.grown) == (INODES_MAX, 997)


@given(
    period_s=st.integers(1, 10),
    seconds=st.integers(120, 300),
    noise=st.integers(0, 5),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_any_steady_leak_is_found_with_its_rate(period_s: int, seconds: int, noise: int, seed: int) -> None:
    world = World(seed)
    for now in world.pass_(seconds):
        world.storm(noise, 3.0)
        if now % period_s == 0:
            world.new(name="leaked")
    (suspect,) = world.suspects
    assert (suspect.name, suspect.key.holder) == ("leaked", "mediaserver")
    assert suspect.growth_per_minute == pytest.approx(60 / period_s, rel=0.15)


@given(st.lists(st.tuples(st.integers(1, 30), st.floats(0.5, 60)), min_size=1, max_size=4), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_rings_and_plateaus_of_any_kind_are_left_alone(rings: list[tuple[int, float]], seed: int) -> None:
    """Rings that were full at the first look, each turned by a clock of its own, a bit unsteadily."""
    world = World(seed)
    alive = [[world.new(name=f"ring-{'abcd'[n]}") for _ in range(count)] for n, (count, _) in enumerate(rings)]
    due = [world.random.uniform(0, period_s) for _, period_s in rings]
    for now in world.pass_(200):
        for n, (_, period_s) in enumerate(rings):
            while due[n] <= now:
                due[n] += period_s * world.random.uniform(0.5, 1.5)
                del world.buffers[alive[n].pop(0)]
                alive[n].append(world.new(name=f"ring-{'abcd'[n]}"))
    assert world.suspects == ()


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 10)), max_size=30))
def test_times_only_rise(steps: list[tuple[float, float]]) -> None:
    clockwork, passed, last = Clockwork(), 0.0, -inf
    for told, more in steps:
        passed += more
        now = clockwork.tick(told, passed)
        assert now > last
        last = now


def test_a_clock_that_is_set_is_seen_through() -> None:
    clockwork = Clockwork()
    told = [100.0, 101.0, 102.0, 90_000.0, 90_001.0, 50.0, 51.0]
    assert [clockwork.tick(one, float(at)) for at, one in enumerate(told)] == [100, 101, 102, 103, 104, 105, 106]


@given(seed=st.integers(0, 1 << 32), is_calm=st.booleans())
@settings(max_examples=25, deadline=None)
def test_who_judges_again_and_again_says_the_same(seed: int, is_calm: bool) -> None:
    world = World(seed)
    random = world.random
    for number in range(30):
        world.new(4096 << number % 3, random.choice(["a", "b 1", "b 2", None]), (random.choice([MEDIA, CAMERA]),))
    judge = None
    for now in world.pass_(40):
        if judge is not None and world.tracker is not None:
            assert judge.growth() == growth_of(world.tracker)
        elif world.tracker is not None:
            judge = Judge(world.tracker)
        if is_calm and now % 7:
            continue
        for _ in range(random.randrange(4)):
            world.new(random.choice([4096, 8192]), random.choice(["a", "c", "b 3"]), life_s=random.choice([None, 3.0]))
        one = random.choice(list(world.buffers))
        match random.randrange(4):
            case 0:
                world.give(one, APP, MEDIA)
            case 1:
                world.buffers[one] = world.buffers[one]._replace(name=f"b {number}")
            case 2:
                del world.buffers[one]
