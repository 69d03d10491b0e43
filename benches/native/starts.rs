//! From the execution of a starter to the first instruction of its guest's init.

use std::{
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use crate::{
    ground::{Natives, Root, milliseconds, now},
    host, measured,
    report::Report,
    starters::{self, Starter},
};

/// How often each starts its guest.
const ROUNDS: usize = 25;

pub fn measure(report: &mut Report) {
    let folder = measured::in_memory();
    host::open_to_all(folder.path());
    let disk = tempfile::Builder::new().prefix("guestd-bench-").tempdir().expect("a folder");
    host::open_to_all(disk.path());
    let root = Root::make(disk.path().join("root"), 0);
    let mapped = Root::make(disk.path().join("mapped"), starters::FIRST);
    let natives = Natives::named(2);
    for users in [false, true] {
        let place = if users { ", users of its own" } else { "" };
        let mut all = starters::all(folder.path(), &root, &mapped, users, &natives);
        // Theirs have their files by the right ids already; guest-run shows them so.
        let heard = |starter: &Starter| if users && starter.name != "guest-run" { &mapped } else { &root };
        all.retain(|starter| match starters::refusal(starter, heard(starter)) {
            None => true,
            Some(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                eprintln!("{}{place} does not work here: {}: {}", starter.name, output.status, said.trim());
                assert_ne!(starter.name, "guest-run", "ours has to work");
                false
            }
        });
        let mut took = vec![Vec::new(); all.len()];
        for round in 0..ROUNDS {
            // Each is first, second and so on as often as the others.
            for at in (0..all.len()).map(|at| (at + round) % all.len()) {
                took[at].push(start(&all[at], heard(&all[at])));
            }
        }
        print(report, &all, took, place);
    }
    starters::sweep();
}

fn print(report: &mut Report, all: &[Starter], took: Vec<Vec<f64>>, place: &str) {
    let mut took = took.into_iter();
    let mut ours = took.next().expect("guest-run's");
    for (starter, mut theirs) in all.iter().skip(1).zip(took) {
        let what = format!("`guest-run` to its init{place} (`{}`)", starter.name);
        if starter.name == "runc" {
            report.ratio(what, &mut ours, &mut theirs, (1.0, "1"));
        } else {
            report.aim(what, &mut ours, &mut theirs, (1.0, "1"));
        }
    }
}

/// Once; from just before execve(2) to what the init says.
fn start(starter: &Starter, root: &Root) -> f64 {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = (starter.command)();
    begins(&mut command, writer);
    // Files of ours: LXC gives what it finds there to its guest's root, /dev/null as well.
    command.stdin(Stdio::piped()).stdout(unnamed()).stderr(unnamed());
    let mut child = command.spawn().expect("it runs");
    drop(command);
    let mut began = [0; 8];
    reader.read_exact(&mut began).expect("when it began");
    let up = root.hear('u');
    let status = child.wait().expect("its end");
    assert!(status.success(), "{}: {status}", starter.name);
    milliseconds(up - i64::from_ne_bytes(began))
}

fn unnamed() -> Stdio {
    tempfile::tempfile().expect("a file").into()
}

/// Notes the moment as the last thing before the execution.
fn begins(command: &mut Command, mut writer: std::io::PipeWriter) {
    // SAFETY: it reads the clock and writes to a pipe.
    unsafe { command.pre_exec(move || writer.write_all(&now().to_ne_bytes())) };
}
