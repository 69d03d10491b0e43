//! Process 1 of a guest whose start is a script: it runs that once, waits for whoever loses his parent, and ends when no
//! process is left, as a context of Linux-VServer did.
//!
//! It is a copy of the monitor, of which the guest can see the program. So the monitor of such a guest runs from a sealed copy
//! of that (`sealed`), which nobody can change.

use std::io;

use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, wait};

use super::{identity, word};
use crate::guest_run::{
    link::Link,
    namespace,
    spec::Spec,
    trouble::{Doing, Run, RunError},
};

/// Runs the program, and stays until nothing is left. The program's exit status.
pub fn run(spec: &Spec, argv: &[String], link: Link) -> i32 {
    // Nobody in the guest looks into it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // It executes nothing that would close them.
    link.keep_alone();
    match start(spec, argv, &link) {
        Ok(first) => {
            drop(link);
            reap(first)
        }
        Err(error) => {
            tell(&link, &error);
            1
        }
    }
}

/// Makes the program's process, which waits until this one is a member of the guest as all others: whoever is of the guest could
/// take over one that is not yet (ptrace(2)).
fn start(spec: &Spec, argv: &[String], link: &Link) -> Run<i32> {
    let (own, other) = Link::pair().doing("make a socket")?;
    // SAFETY: there are no other threads.
    match unsafe { namespace::fork(None, None) }.map_err(namespace::refused)? {
        namespace::Fork::Child => {
            drop(own);
            let error = match other.receive() {
                Ok(Some(_)) => identity::execute(spec, argv, None),
                // Process 1 has told why.
                _ => std::process::exit(127),
            };
            tell(link, &error);
            std::process::exit(127)
        }
        namespace::Fork::Parent(child) => {
            drop(other);
            // From here on it is a member as all others.
            identity::become_member(spec, identity::Entry::Visitor)?;
            identity::die_with_monitor(link)?;
            own.send(&[word::EXECUTE], &[]).doing("have its program begin")?;
            Ok(child.pid)
        }
    }
}

fn tell(link: &Link, error: &RunError) {
    let kind = if error.trouble().is_permanent { word::WRONG } else { word::FAILED };
    let _ = link.send(&[&[kind], error.to_string().as_bytes()].concat(), &[]);
}

fn reap(first: i32) -> i32 {
    let mut code = 0;
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == first => {
                code = status.exit_status().unwrap_or(0);
            }
            Ok(_) => {}
            Err(error) if io::Error::from(error).kind() == io::ErrorKind::Interrupted => {}
            // Nobody is left.
            Err(_) => return code,
        }
    }
}
