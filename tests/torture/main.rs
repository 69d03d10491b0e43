//! guestd is killed at every boundary that it has a name for, and at random moments, while real containers, and on another host native guests, start,
//! reboot, crash and stop. It is started again each time; in the end every guest is in the wanted phase, each init was started
//! exactly once, and nothing is left behind.
//!
//! The short form kills at all points on one host, one after the other, and ten times at random. The whole form is
//! `make torture`: each point alone on a host of its own, at several passes, and 200 random moments. `GUESTD_TORTURE_POINTS`
//! chooses points by their names with commas between, `GUESTD_TORTURE_SEED` repeats moments.

mod client;
mod guests;
#[path = "../host/mod.rs"]
mod host;
mod keeper;
mod truth;
mod workload;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use guestd::kill_point::KillPoint;

use host::Kind;
use keeper::{Ends, Keeper};
use workload::Workload;

/// How often the work is done again until every point was hit.
const ROUNDS: usize = 3;
/// The longest lives of daemons that are killed at random, in milliseconds; each host has one of them. The shortest hardly
/// become ready.
const LIVES: [u64; 3] = [150, 400, 1200];
/// At which pass of a point the whole form kills.
const PASSES: [u64; 4] = [1, 2, 4, 9];
/// So many hosts are tortured at once.
const AT_ONCE: usize = 2;

/// The work is done once, with a look at the guests before its end and after it.
fn round(load: &mut Workload) {
    load.round(|load| {
        truth::guests_are_as_wanted(load);
        truth::reboots_are_counted(load, 2);
    });
    truth::nothing_is_left(load);
}

fn finish(load: Workload) -> Ends {
    let ends = load.keeper.finish();
    assert!(ends.odd.is_empty(), "daemons that were not killed, and ended: {:#?}", ends.odd);
    ends
}

/// Kills daemons of one host at these points, at the given pass of each; until each was hit, or the work was done often.
fn killed_at(kind: Kind, points: &[(KillPoint, u64)], rounds: usize) -> Ends {
    let mut load = Workload::new(kind, |host| Keeper::start(host, points.to_vec()));
    for _ in 0..rounds {
        round(&mut load);
        if load.keeper.armed().is_empty() {
            break;
        }
    }
    finish(load)
}

/// Kills daemons of one host at random moments, `most` times at most in one round.
fn killed_at_random(kind: Kind, random: &mut Random, most: usize) -> usize {
    let mut load = Workload::new(kind, |host| Keeper::start(host, Vec::new()));
    let is_over = AtomicBool::new(false);
    let longest = LIVES[usize::try_from(random.below(3)).expect("a small number")];
    let lives: Vec<Duration> = (0..most).map(|_| Duration::from_millis(random.below(longest))).collect();
    thread::scope(|scope| {
        let killer = load.keeper.killer();
        let (lives, is_over) = (&lives, &is_over);
        let killing = scope.spawn(move || {
            let mut killed = 0;
            for life in lives {
                // The moment itself is what is random: nothing is waited for.
                thread::sleep(*life);
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                killed += usize::from(killer.kill());
            }
            killed
        });
        let done = catch_unwind(AssertUnwindSafe(|| round(&mut load)));
        is_over.store(true, Ordering::SeqCst);
        let killed = killing.join().expect("the killer");
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        finish(load);
        killed
    })
}

/// Numbers that are the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    /// By the seed in the environment, or by the time; it is told.
    fn new() -> Self {
        let given = std::env::var("GUESTD_TORTURE_SEED").ok().and_then(|seed| seed.parse().ok());
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").subsec_nanos();
        let seed = given.unwrap_or_else(|| nanos().into());
        eprintln!("GUESTD_TORTURE_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[test]
fn a_daemon_that_is_killed_at_every_boundary_loses_no_container() {
    every_boundary(Kind::Lxc);
}

#[test]
fn a_daemon_that_is_killed_at_every_boundary_loses_no_native_guest() {
    every_boundary(Kind::Native);
}

fn every_boundary(kind: Kind) {
    let all: Vec<_> = KillPoint::ALL.iter().map(|point| (*point, 1)).collect();
    let hit = killed_at(kind, &all, ROUNDS).hit;
    let missed: Vec<_> = KillPoint::ALL.iter().filter(|point| !hit.contains(point)).collect();
    assert!(missed.is_empty(), "never hit: {missed:?}");
    assert_eq!(hit.len(), KillPoint::ALL.len(), "each is hit once");
}

#[test]
fn a_daemon_that_is_killed_at_random_moments_loses_nothing() {
    for kind in Kind::ALL {
        let killed = killed_at_random(kind, &mut Random::new(), 10);
        assert!(killed > 0, "nobody was killed");
    }
}

#[test]
#[ignore = "takes many minutes: make torture"]
fn each_boundary_alone() {
    let chosen = std::env::var("GUESTD_TORTURE_POINTS").unwrap_or_default();
    let is_chosen =
        |point: &&KillPoint| chosen.is_empty() || chosen.split(',').any(|name| name == point.name());
    let points: Vec<KillPoint> = KillPoint::ALL.iter().filter(is_chosen).copied().collect();
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for times in PASSES {
            all.extend(points.iter().map(|point| (kind, *point, times)));
        }
    }
    let most = all.len();
    let (all, failed, hits) = (Mutex::new(all.into_iter()), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let next = || all.lock().expect("no panic with it").next();
    let work = || {
        while let Some((kind, point, times)) = next() {
            let (began, name) = (Instant::now(), format!("{kind:?} {}:{times}", point.name()));
            let ended =
                catch_unwind(|| killed_at(kind, &[(point, times)], if times == 1 { ROUNDS } else { 1 }));
            let hit = ended.as_ref().map_or(0, |ends| ends.hit.len());
            hits.fetch_add(hit, Ordering::Relaxed);
            // Some are passed once or twice in a daemon's life, and not again.
            let is_good = ended.is_ok() && (hit == 1 || times > 1);
            let how = if is_good { "passed" } else { "FAILED" };
            eprintln!("{how}: {name}, killed {hit} times, {} s", began.elapsed().as_secs());
            failed.lock().expect("no panic with it").extend((!is_good).then_some(name));
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().expect("no panic with it");
    eprintln!("{} points, {} of {most} kills", points.len(), hits.into_inner());
    assert!(failed.is_empty(), "{} failed: {failed:?}", failed.len());
}

#[test]
#[ignore = "takes many minutes: make torture"]
fn two_hundred_random_moments() {
    let mut random = Random::new();
    let (mut killed, mut failed) = (0, 0);
    for kind in Kind::ALL.into_iter().cycle() {
        if killed >= 200 {
            break;
        }
        let most = (200 - killed).min(25);
        let ended = catch_unwind(AssertUnwindSafe(|| killed_at_random(kind, &mut random, most)));
        failed += usize::from(ended.is_err());
        killed += ended.unwrap_or(25);
        eprintln!("{killed} kills at random moments, {failed} hosts failed");
    }
    assert_eq!(failed, 0);
}
