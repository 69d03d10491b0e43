//! Process 1 of a guest whose start is a script: it runs that once, waits for whoever loses his parent, and ends when no
//! process is left, as a context of Linux-VServer did.
//!
//! It is a copy of the monitor, of which the guest can see the program. So the monitor of such a guest runs from a sealed copy
//! of that (`sealed`), which nobody can change.

use std::io;

use rustix::process::{DumpableBehavior, WaitOptions, set_dumpable_behavior, wait};

use super::{identity, word};
use crate::guest_run::{link::Link, namespace, spec::Spec};

/// Runs the program, and stays until nothing is left. The program's exit status.
pub fn run(spec: &Spec, argv: &[String], link: Link) -> i32 {
    // Nobody in the guest looks into it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // SAFETY: there are no other threads.
    match unsafe { namespace::fork(None, None) } {
        Ok(namespace::Fork::Child) => {
            let error = identity::execute(spec, argv, None);
            let kind = if error.trouble().is_permanent { word::WRONG } else { word::FAILED };
            let _ = link.send(&[&[kind], error.to_string().as_bytes()].concat(), &[]);
            127
        }
        Ok(namespace::Fork::Parent(child)) => {
            // From here on it is a member as all others.
            let member = identity::become_member(spec, identity::Entry::Visitor);
            if let Err(error) = member.and_then(|()| identity::die_with_monitor(&link)) {
                let _ = link.send(&[&[word::FAILED], error.to_string().as_bytes()].concat(), &[]);
                return 1;
            }
            drop(link);
            reap(child.pid)
        }
        Err(error) => {
            let error = namespace::refused(error);
            let _ = link.send(&[&[word::FAILED], error.to_string().as_bytes()].concat(), &[]);
            1
        }
    }
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
