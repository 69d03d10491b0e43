//! What is left is found again, once, in order; what is bad harms nobody.

use std::os::unix::fs::symlink;

use super::*;

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn request(guest: &str, at: u64) -> Spooled {
    Spooled {
        guest: name(guest),
        event: Event::Reboot,
        at: Timestamp(at),
        decision: Decision::Restart,
        reason: "its reboot action is restart".into(),
        tripped: None,
    }
}

fn drain(dir: &Path) -> Vec<Spooled> {
    let lying = look(dir, &BTreeSet::new()).into_iter();
    let taken = lying.map(|Lying { file, request }| {
        remove(dir, &file).unwrap();
        request
    });
    taken.collect()
}

#[test]
fn a_request_lies_there_until_it_is_removed_and_is_handed_out_once() {
    let dir = tempfile::tempdir().unwrap();
    leave(dir.path(), request("web", 5)).unwrap();
    let [Lying { file, .. }] = &look(dir.path(), &BTreeSet::new())[..] else { panic!("one") };
    let taken = BTreeSet::from([file.clone()]);
    leave(dir.path(), request("web", 6)).unwrap();
    let new: Vec<Spooled> = look(dir.path(), &taken).into_iter().map(|lying| lying.request).collect();
    assert_eq!(new, [request("web", 6)]);
    assert_eq!(drain(dir.path()), [request("web", 5), request("web", 6)], "who does not know of them");
}

#[test]
fn requests_are_drained_once_and_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(drain(dir.path()), [], "no folder yet");
    for (guest, at) in [("web-1", 1000), ("db", 9), ("web-1", 200)] {
        assert_eq!(leave(dir.path(), request(guest, at)).unwrap(), 0);
    }
    assert_eq!(pending(dir.path(), &name("web-1")), [request("web-1", 200), request("web-1", 1000)]);
    assert_eq!(pending(dir.path(), &name("web")), []);
    assert_eq!(drain(dir.path()), [request("db", 9), request("web-1", 200), request("web-1", 1000)]);
    assert_eq!(drain(dir.path()), []);
}

#[test]
fn a_limit_that_was_used_up_is_kept_and_may_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let limit = Limit { count: 5, window: Duration::from_secs(60) };
    let tripped = Spooled { tripped: Some(limit), decision: Decision::Stop, ..request("web", 7) };
    leave(dir.path(), tripped.clone()).unwrap();
    let earlier =
        r#"{"version":1,"guest":"web","event":"reboot","at":8,"decision":"stop","reason":"it is used up"}"#;
    fs::write(dir.path().join("spool/8-1-web.json"), earlier).unwrap();
    let untold =
        Spooled { at: Timestamp(8), tripped: None, reason: "it is used up".into(), ..tripped.clone() };
    assert_eq!(drain(dir.path()), [tripped, untold]);
}

#[test]
fn bad_files_are_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    leave(dir.path(), request("web", 5)).unwrap();
    let spool = dir.path().join("spool");
    let other = fs::read_to_string(spool.join(format!("5-{}-web.json", std::process::id()))).unwrap();
    let bad = [
        ("notes.txt", "hello"),
        ("6-1-web.json", "{"),
        ("7-1-web.json", &other),
        ("5-1-db.json", &other),
        ("05-1-web.json", &other),
        ("5-1-..json", &other),
        (
            "5-1-new.json",
            r#"{"version":2,"guest":"new","event":"halt","at":5,"decision":"stop","reason":""}"#,
        ),
    ];
    for (file, text) in bad {
        fs::write(spool.join(file), text).unwrap();
    }
    symlink("/etc/passwd", spool.join("8-1-web.json")).unwrap();
    fs::create_dir(spool.join("9-1-web.json")).unwrap();
    fs::write(spool.join("10-1-web.json"), vec![b' '; 10_000]).unwrap();
    fs::write(spool.join(".10-1-web.json.77"), "half a").unwrap();

    assert_eq!(drain(dir.path()), [request("web", 5)]);
    assert_eq!(fs::read_dir(spool.join("bad")).unwrap().count(), bad.len() + 3);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 2, "bad, and the file that is just being written");
    assert_eq!(drain(dir.path()), []);
}

#[test]
fn an_abandoned_temporary_file_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let path = spool.join(".1-1-web.json.77");
    let file = fs::File::create(&path).unwrap();
    file.set_modified(SystemTime::now() - 2 * ABANDONED_AFTER).unwrap();
    assert_eq!(drain(dir.path()), []);
    assert!(!path.exists());
}

#[test]
fn the_bad_folder_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    fs::create_dir(&spool).unwrap();
    for n in 0..BAD_MAX + 20 {
        fs::write(spool.join(format!("junk-{n}")), "").unwrap();
    }
    assert_eq!(drain(dir.path()), []);
    assert_eq!(fs::read_dir(spool.join("bad")).unwrap().count(), BAD_MAX);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 1);
}

#[test]
fn a_full_spool_drops_the_oldest_of_the_same_guest() {
    let dir = tempfile::tempdir().unwrap();
    let spool = dir.path().join("spool");
    record::ensure_folder(&spool).unwrap();
    let fill = |guest: &str, from: u64, count: u64| {
        for at in from..from + count {
            let entry = Entry { version: VERSION, request: request(guest, at) };
            fs::write(spool.join(format!("{at}-1-{guest}.json")), serde_json::to_vec(&entry).unwrap())
                .unwrap();
        }
    };
    fill("quiet", 1, 2);
    fill("loop", 100, ENTRIES_MAX as u64 - 2);
    assert_eq!(leave(dir.path(), request("loop", 5000)).unwrap(), 1);
    assert_eq!(leave(dir.path(), request("new", 6000)).unwrap(), 1, "taken from the guest that has most");
    assert_eq!(leave(dir.path(), request("quiet", 7000)).unwrap(), 1);

    let drained = drain(dir.path());
    assert_eq!(drained.len(), ENTRIES_MAX);
    let of =
        |guest: &str| drained.iter().filter(|r| r.guest == name(guest)).map(|r| r.at.0).collect::<Vec<_>>();
    assert_eq!(of("quiet"), [2, 7000]);
    assert_eq!(of("new"), [6000]);
    assert_eq!((of("loop")[0], of("loop").len()), (102, ENTRIES_MAX - 3));
}
