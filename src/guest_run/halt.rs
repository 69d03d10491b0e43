//! How a guest is asked to shut down or to reboot.

use std::{fs, path::Path};

use super::{
    spec::Spec,
    steps::Stage,
    trouble::{Run, RunError},
};
use crate::model::{Deed, Step, native::InitProgram};

/// SIGRTMIN as the C library has it; systemd counts its signals from there (systemd(1)).
const SIGRTMIN: i32 = 34;

/// What an init understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signals {
    halt: i32,
    reboot: i32,
}

/// By the name of its program, which is a link to the real one.
fn of_program(name: &str) -> Option<Signals> {
    match name {
        "systemd" => Some(Signals { halt: SIGRTMIN + 3, reboot: SIGRTMIN + 5 }),
        // It powers off by SIGUSR2, and reboots by SIGTERM (busybox's init/init.c).
        "busybox" => Some(Signals { halt: libc::SIGUSR2, reboot: libc::SIGTERM }),
        _ => None,
    }
}

/// Programs of inits that take no signal for it, with what asks them: sysvinit's and OpenRC's.
const COMMANDS: [(&str, [&str; 2], [&str; 2]); 2] = [
    ("openrc-init", ["/sbin/openrc-shutdown", "-p now"], ["/sbin/openrc-shutdown", "-r now"]),
    ("init", ["/sbin/init", "0"], ["/sbin/init", "6"]),
];

/// Asks the guest of a stage to shut down, or to reboot.
///
/// # Errors
/// When it cannot be asked.
pub fn ask(stage: &mut Stage<'_>, halt: bool) -> Run<()> {
    let spec = stage.spec;
    if halt && !spec.native.lifecycle.stop.is_empty() {
        return stage.carry_out(&spec.native.lifecycle.stop);
    }
    let step = Step {
        name: if halt { "stop" } else { "reboot" }.into(),
        what: deed(stage, halt)?,
        must_succeed: true,
    };
    stage.carry_out(&[step])
}

fn deed(stage: &Stage<'_>, halt: bool) -> Run<Deed> {
    let init = &stage.spec.native.init;
    let said = if halt { init.halt_signal } else { init.reboot_signal };
    if let Some(argv) = init.halt_command.clone().filter(|_| halt) {
        return Ok(Deed::Inside { argv });
    }
    if let Some(signal) = said {
        return Ok(Deed::Signal(signal));
    }
    let name = program(stage.spec, stage.init.map(|init| init.pid));
    if let Some(signals) = of_program(&name) {
        return Ok(Deed::Signal(if halt { signals.halt } else { signals.reboot }));
    }
    if let Some((_, off, again)) = COMMANDS.iter().find(|(known, ..)| *known == name) {
        let [program, arguments] = if halt { off } else { again };
        let words = std::iter::once(*program).chain(arguments.split(' '));
        return Ok(Deed::Inside { argv: words.map(str::to_owned).collect() });
    }
    if halt {
        // Any other program ends by it, if it wants to.
        return Ok(Deed::Signal(libc::SIGTERM));
    }
    Err(RunError::Configuration(format!(
        "nobody knows how its init ({name}) is asked to reboot; set reboot-signal"
    )))
}

/// The name of the program that its init really is.
fn program(spec: &Spec, init: Option<i32>) -> String {
    let running = init.and_then(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok());
    let written = match &spec.native.init.program {
        InitProgram::Exec(argv) => argv.first().map(|program| Path::new(program).to_owned()),
        InitProgram::Once(_) => None,
    };
    let path = running.or(written).unwrap_or_default();
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
