//! Jobs that one daemon leaves and the next one finds.

use std::collections::BTreeMap;

use super::{
    at,
    fleet::{World, ranked, requiring},
    guest, name,
};
use crate::{
    engine::{Init, Observation, Probe},
    model::{
        Action, End, Follows, Guest, JobId, JobState, Now, Outcome, Selection, StopWait, Timestamp, Verb,
        WaitStatus,
    },
    supervise::{
        event::{Event, Found, Remembered},
        restore::{Change, LeftJob, Record, StoredJob},
    },
};

/// What is stored of jobs, as text.
#[derive(Default)]
pub(super) struct Stored(BTreeMap<JobId, Vec<String>>);

fn line(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

impl Stored {
    /// Takes what a daemon stores now; the lines of each record.
    pub(super) fn take(&mut self, records: Vec<Record>) -> Vec<Vec<String>> {
        let mut taken = Vec::new();
        for record in records {
            let (id, lines) = match record {
                Record::Whole(job, change) => {
                    self.0.remove(&job.id);
                    (job.id, vec![line(&job), line(&change)])
                }
                Record::More(id, change) => {
                    assert!(self.0.contains_key(&id), "more of a job that is not stored");
                    (id, vec![line(&change)])
                }
                Record::Forgotten(id) => {
                    assert!(self.0.remove(&id).is_some());
                    continue;
                }
            };
            self.0.entry(id).or_default().extend(lines.clone());
            taken.push(lines);
        }
        taken
    }

    pub(super) fn left(&self, now: Now) -> Vec<LeftJob> {
        self.0.values().map(|lines| left(lines, now).unwrap()).collect()
    }

    fn of(world: &mut World, seconds: u64) -> Self {
        let mut stored = Self::default();
        stored.take(world.fleet.take_job_records(at(seconds)));
        stored
    }

    /// The next daemon, whose looks at these guests find this, and the others down.
    fn next(&self, seconds: u64, guests: &[Guest], found: &[(&str, Found)]) -> World {
        let mut world = World::new(99, guests.iter().cloned());
        for guest in guests {
            let found = found.iter().find(|(found, _)| guest.name == name(found));
            let found = found.map_or_else(|| seen(Probe::Down), |(_, found)| found.clone());
            world.fleet.happened(&guest.name, Event::Probed(found), at(seconds));
        }
        world.begun();
        world.fleet.restore(self.left(at(seconds)), JobId(0), at(seconds));
        world
    }
}

fn left(lines: &[String], now: Now) -> Result<LeftJob, String> {
    let job: StoredJob = serde_json::from_str(&lines[0]).map_err(|error| error.to_string())?;
    let changes: Result<Vec<Change>, _> = lines[1..].iter().map(|line| serde_json::from_str(line)).collect();
    let changes = changes.map_err(|error| error.to_string())?;
    LeftJob::new(job, changes, true, now).map_err(|error| error.to_string())
}

fn seen(probe: Probe) -> Found {
    Found::State { probe, remembered: None }
}

pub(super) fn up(pid: i32, since: u64) -> Found {
    seen(Probe::Up(Init { pid, since: at(since).wall, keeper: None }))
}

fn known(probe: Probe, follows: Option<Follows>) -> Found {
    let remembered = Some(Remembered { restarts: 4, follows, ..super::remembered() });
    Found::State { probe, remembered }
}

fn inits_of(pid: i32) -> Init {
    Init { pid, since: Timestamp(7), keeper: None }
}

#[test]
fn a_delay_goes_on_counting_and_everybody_keeps_the_result() {
    let guests = [ranked("a", 3, 5), ranked("b", 2, 0), ranked("c", 1, 0)];
    // Whether the first daemon has seen it come up or not.
    for sees_it in [true, false] {
        let mut world = World::new(9, guests.clone());
        let job = world.start_all(10);
        assert_eq!(world.begun(), ["start a"]);
        if sees_it {
            world.comes_up(12, "a");
        }
        let stored = Stored::of(&mut world, 13);
        let mut world = stored.next(14, &guests, &[("a", up(101, 12))]);
        let status = world.job(job);
        assert_eq!((status.state, &*status.status), (JobState::Running, "waiting for the delay of a"));
        assert_eq!((status.started, &status.results[&name("a")]), (at(10).wall, &Outcome::Done));
        assert_eq!((world.begun(), world.fleet.deadline()), (Vec::new(), Some(at(17).instant)));
        world.fleet.wake(at(17));
        assert_eq!(world.begun(), ["start b"]);
        world.comes_up(18, "b");
        assert_eq!(world.begun(), ["start c"]);
        world.comes_up(19, "c");
        let status = world.job(job);
        assert_eq!(
            (status.state, status.results.len(), status.ended),
            (JobState::Done, 3, Some(at(19).wall))
        );
    }
}

/// What a restored job does at once with its guest, and how it is then.
fn resumed(verb: Verb, found: Found) -> (Vec<String>, JobState, String) {
    let guests = [guest("web")];
    let mut world =
        if verb == Verb::Start { World::new(9, guests.clone()) } else { World::up(guests.clone()) };
    if verb == Verb::Thaw {
        world.sees(0, "web", Observation::Frozen);
    }
    let job = world.operate(1, verb, "web").unwrap();
    assert_eq!(world.begun().len(), 1, "{verb}");
    let mut world = Stored::of(&mut world, 2).next(5, &guests, &[("web", found)]);
    let begun = world.begun();
    let status = world.job(job);
    (begun, status.state, status.results.values().map(ToString::to_string).collect())
}

#[test]
fn what_was_begun_is_judged_by_what_is_found() {
    let same = || seen(Probe::Up(inits_of(101)));
    let other = || seen(Probe::Up(inits_of(202)));
    let frozen = || seen(Probe::Frozen(inits_of(101)));
    let down = || seen(Probe::Down);
    let ended = |raw| known(Probe::Ended { status: WaitStatus(raw), keeper: None }, None);
    let crash = "failed: crashed: its init exited with status 3";
    for (verb, found, begun, result) in [
        (Verb::Start, down(), "start web", ""),
        (Verb::Start, other(), "", "done"),
        (Verb::Start, seen(Probe::Changing), "", ""),
        (Verb::Start, Found::Failed("no answer".into()), "", ""),
        (Verb::Start, ended(0x300), "", crash),
        (Verb::Stop, down(), "", "done"),
        (Verb::Stop, ended(2), "", "done"),
        (Verb::Stop, same(), "stop web", ""),
        (
            Verb::Stop,
            known(Probe::Up(inits_of(101)), Some(Follows::End(End::Asked { killed: false }))),
            "",
            "",
        ),
        (Verb::Kill, same(), "kill web", ""),
        (Verb::Restart, same(), "stop web", ""),
        (Verb::Restart, other(), "", "done"),
        (Verb::Restart, down(), "start web", ""),
        (Verb::Restart, ended(0x300), "", crash),
        (Verb::Restart, known(Probe::Up(inits_of(101)), Some(Follows::Start)), "", ""),
        (Verb::Reboot, same(), "reboot web", ""),
        (Verb::Reboot, other(), "", "done"),
        (Verb::Reboot, down(), "", "failed: it is down"),
        (Verb::Freeze, same(), "freeze web", ""),
        (Verb::Freeze, frozen(), "", "done"),
        (Verb::Thaw, frozen(), "thaw web", ""),
        (Verb::Thaw, same(), "", "done"),
    ] {
        let words = format!("{verb} {found:?}");
        let (did, state, results) = resumed(verb, found);
        assert_eq!((did.join(", "), &*results), (begun.to_owned(), result), "{words}");
        assert_eq!(state.is_over(), !result.is_empty(), "{words}");
    }
}

#[test]
fn a_restart_under_way_comes_to_its_end() {
    let guests = [guest("web")];
    let mut world = World::up(guests.clone());
    let job = world.operate(1, Verb::Restart, "web").unwrap();
    let stored = Stored::of(&mut world, 2);
    let found = known(Probe::Up(inits_of(101)), Some(Follows::Start));
    let mut world = stored.next(5, &guests, &[("web", found)]);
    world.sees(6, "web", Observation::Gone);
    assert_eq!(world.begun(), ["start web"]);
    assert_eq!(world.job(job).state, JobState::Running);
    world.comes_up(7, "web");
    assert_eq!(world.job(job).state, JobState::Done);
    assert_eq!(world.published().guests["web"].restarts, 5, "those before count on");
}

#[test]
fn whoever_is_in_doubt_is_waited_for_as_long_as_a_start_may_take() {
    let guests = [guest("web")];
    for comes in [true, false] {
        let mut world = World::new(9, guests.clone());
        let job = world.start_all(1);
        let stored = Stored::of(&mut world, 2);
        let mut world = stored.next(5, &guests, &[("web", seen(Probe::Changing))]);
        let (seconds, found) = if comes { (6, up(101, 5)) } else { (500, seen(Probe::Changing)) };
        world.fleet.happened(&name("web"), Event::Probed(found), at(seconds));
        assert_eq!(world.job(job).state.is_over(), comes);
        assert_eq!(world.begun().iter().any(|begun| begun == "start web"), !comes);
    }
}

#[test]
fn ended_jobs_are_found_and_new_ones_get_other_numbers() {
    let guests = [guest("web"), requiring("app", "nobody")];
    let mut world = World::up(guests.clone());
    let stopped = world.operate(1, Verb::Stop, "web").unwrap();
    let canceled = world.operate(2, Verb::Restart, "app").unwrap_err();
    assert!(canceled.to_string().contains("nobody"), "{canceled}");
    world.sees(3, "web", Observation::Gone);
    let nothing = world.operate(4, Verb::Stop, "web").unwrap();
    let before = [stopped, nothing].map(|job| world.job(job));
    let stored = Stored::of(&mut world, 5);
    let mut world = stored.next(9, &guests, &[]);
    assert_eq!([stopped, nothing].map(|job| world.job(job)), before);
    assert_eq!((before[0].state, &before[1].results[&name("web")]), (JobState::Done, &Outcome::Already));
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert!(world.fleet.take_job_records(at(9)).is_empty(), "they are stored already");
    world.fleet.restore(Vec::new(), JobId(40), at(9));
    assert_eq!(world.operate(10, Verb::Start, "web").unwrap(), JobId(41));
}

#[test]
fn a_canceled_job_stays_so() {
    let guests = [ranked("a", 2, 0), ranked("b", 1, 0)];
    let mut world = World::new(9, guests.clone());
    let job = world.start_all(1);
    let mut stored = Stored::of(&mut world, 1);
    world.fleet.cancel(job, at(2)).unwrap();
    stored.take(world.fleet.take_job_records(at(2)));
    let mut world = stored.next(3, &guests, &[("a", up(101, 2))]);
    let status = world.job(job);
    assert_eq!((status.state, &status.results[&name("b")]), (JobState::Canceled, &Outcome::Canceled));
    assert_eq!(world.begun(), [] as [&str; 0]);
}

#[test]
fn a_boot_counts_once_its_job_is_over_whichever_daemon_sees_that() {
    let guests = [guest("web")];
    let boot = Selection { boot: true, ..Selection::default() };
    let mut world = World::new(9, guests.clone());
    world.fleet.autostart(Action::Start, &boot, StopWait::Configured, at(1)).unwrap();
    let mut stored = Stored::of(&mut world, 1);
    let next = stored.next(3, &guests, &[("web", up(101, 2))]);
    assert!(next.fleet.booted().contains(&None));
    assert!(stored.next(3, &guests, &[]).fleet.booted().is_empty(), "it goes on");
    world.comes_up(2, "web");
    stored.take(world.fleet.take_job_records(at(2)));
    assert!(stored.next(3, &guests, &[]).fleet.booted().contains(&None), "killed between the two");
}

#[test]
fn each_change_is_stored_once_and_costs_no_more_than_itself() {
    const GUESTS: usize = 200;
    let guests: Vec<Guest> = (0..GUESTS).map(|n| guest(&format!("g{n:03}"))).collect();
    let mut world = World::new(GUESTS, guests.clone());
    world.start_all(1);
    let mut stored = Stored::default();
    assert_eq!(stored.take(world.fleet.take_job_records(at(1)))[0].len(), 2);
    for guest in &guests {
        world.comes_up(2, guest.name.as_str());
        let taken = stored.take(world.fleet.take_job_records(at(2)));
        let [lines] = &taken[..] else { panic!("{taken:?}") };
        assert!(lines.len() == 1 && lines[0].len() < 200, "{lines:?}");
        assert!(world.fleet.take_job_records(at(2)).is_empty());
    }
    let mut next = stored.next(3, &guests, &[]);
    let status = next.job(JobId(1));
    assert_eq!((status.state, status.results.len()), (JobState::Done, GUESTS));
}

#[test]
fn what_contradicts_itself_is_no_job() {
    let mut world = World::new(9, [ranked("a", 2, 0), requiring("b", "a")]);
    world.start_all(1);
    let stored = Stored::of(&mut world, 1);
    let lines = &stored.0[&JobId(1)];
    assert!(left(lines, at(2)).is_ok());
    for (at_line, from, to, words) in [
        (0, r#""guest":"b""#, r#""guest":"a""#, "a guest is there twice"),
        (0, r#""after":[0]"#, r#""after":[1]"#, "its steps are in no order"),
        (0, r#""settled":{}"#, r#""settled":{"a":"done"}"#, "a guest is there twice"),
        (0, r#""verb":"start""#, r#""verb":"explode""#, "unknown variant `explode`"),
        (0, r#""guest":"b""#, r#""guest":"../b""#, "begins with"),
        (1, "[0,", "[2,", "a step is not in its plan"),
        (1, "{", r#"{"ended":7,"#, "it is over, and steps are not"),
    ] {
        let mut changed = lines.clone();
        changed[at_line] = changed[at_line].replacen(from, to, 1);
        assert_ne!(changed, *lines, "{from} in {lines:?}");
        let error = left(&changed, at(2)).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn whoever_is_to_be_stopped_is_wanted_down_under_the_next_daemon_too() {
    let guests = [guest("a"), requiring("b", "a")];
    let mut world = World::up(guests.clone());
    world.operate(1, Verb::Stop, "a").unwrap();
    assert_eq!(world.begun(), ["stop b"]);
    let stored = Stored::of(&mut world, 2);
    let mut world = stored.next(5, &guests, &[("a", up(101, 0)), ("b", up(102, 0))]);
    assert_eq!(world.begun(), ["stop b"]);
    assert!(!world.published().guests["a"].intent_up);
}
