//! Priorities and limits of a process, which its monitor sets from outside: inside it may not raise them.

use std::io;

use rustix::{
    process::{Pid, Resource, Rlimit},
    thread::{CpuSet, sched_setaffinity},
};

use super::{
    program,
    spec::Spec,
    trouble::{Doing, Run, RunError},
};
use crate::model::native::{LimitKind, ResourceLimit, Scheduler};

/// Sets them for the guest's first process, from which all others have theirs.
///
/// # Errors
/// When the kernel refuses one.
pub fn prioritise(spec: &Spec, pid: i32) -> Run<()> {
    let process = &spec.native.process;
    for limit in &process.limits {
        limit_process(pid, limit)?;
    }
    if let Some(nice) = process.nice {
        // SAFETY: it takes numbers.
        let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, pid.cast_unsigned(), nice) };
        (if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }).doing("set its nice level")?;
    }
    if let Some(scheduler) = process.scheduler {
        schedule(pid, scheduler).map_err(|error| unscheduled(scheduler, error))?;
    }
    if let Some((class, level)) = process.io_priority {
        const OF_PROCESS: libc::c_long = 1;
        let value = libc::c_long::from(class) << 13 | libc::c_long::from(level);
        // SAFETY: it takes numbers.
        let result = unsafe { libc::syscall(libc::SYS_ioprio_set, OF_PROCESS, pid, value) };
        (if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }).doing("set its I/O priority")?;
    }
    let score = process.oom_score_adjust.map(|score| score.to_string());
    if let Some(score) = score.as_deref().or(program::ordinary_score()) {
        // By the monitor, who alone sets how low the guest may go itself.
        let path = format!("/proc/{pid}/oom_score_adj");
        std::fs::write(&path, score).doing(format_args!("write {path}"))?;
    }
    if let Some(list) = &process.processors {
        let set = processors(list)?;
        sched_setaffinity(Pid::from_raw(pid), &set).doing(format_args!("run it on the processors {list}"))?;
    }
    Ok(())
}

/// Why it does not have its scheduler: where the kernel divides the time of realtime processes among cgroups
/// (CONFIG_RT_GROUP_SCHED), new ones have none of it.
fn unscheduled(scheduler: Scheduler, source: io::Error) -> RunError {
    let is_realtime = matches!(scheduler, Scheduler::Fifo(_) | Scheduler::RoundRobin(_));
    if is_realtime && source.kind() == io::ErrorKind::PermissionDenied {
        let text = "cannot set its scheduler: this host's kernel gives realtime processes no time in a guest's cgroup \
                    (cpu.rt_runtime_us); leave the realtime scheduler away";
        return RunError::Configuration(text.into());
    }
    RunError::System { doing: "set its scheduler".into(), source }
}

fn schedule(pid: i32, scheduler: Scheduler) -> io::Result<()> {
    let (policy, priority) = match scheduler {
        Scheduler::Other => (libc::SCHED_OTHER, 0),
        Scheduler::Batch => (libc::SCHED_BATCH, 0),
        Scheduler::Idle => (libc::SCHED_IDLE, 0),
        Scheduler::RoundRobin(priority) => (libc::SCHED_RR, priority),
        Scheduler::Fifo(priority) => (libc::SCHED_FIFO, priority),
    };
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: the structure lives through the call.
    let result = unsafe { libc::sched_setscheduler(pid, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn limit_process(pid: i32, limit: &ResourceLimit) -> Run<()> {
    let kind = match limit.kind {
        LimitKind::As => Resource::As,
        LimitKind::Core => Resource::Core,
        LimitKind::Cpu => Resource::Cpu,
        LimitKind::Data => Resource::Data,
        LimitKind::Fsize => Resource::Fsize,
        LimitKind::Locks => Resource::Locks,
        LimitKind::Memlock => Resource::Memlock,
        LimitKind::Msgqueue => Resource::Msgqueue,
        LimitKind::Nice => Resource::Nice,
        LimitKind::Nofile => Resource::Nofile,
        LimitKind::Nproc => Resource::Nproc,
        LimitKind::Rss => Resource::Rss,
        LimitKind::Rtprio => Resource::Rtprio,
        LimitKind::Rttime => Resource::Rttime,
        LimitKind::Sigpending => Resource::Sigpending,
        LimitKind::Stack => Resource::Stack,
    };
    let new = Rlimit { current: limit.soft, maximum: limit.hard };
    rustix::process::prlimit(Pid::from_raw(pid), kind, new)
        .map(drop)
        .doing(format_args!("limit {}", limit.kind.key()))
}

/// Reads processors: numbers and ranges with commas between them, as the kernel writes them.
///
/// # Errors
/// When they are none.
pub fn processors(list: &str) -> Run<CpuSet> {
    let wrong = || RunError::Configuration(format!("processors = \"{list}\" is no list such as \"0-3,5\""));
    let mut set = CpuSet::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            first.parse().and_then(|first| Ok((first, last.parse()?))).map_err(|_| wrong())?;
        if first > last || last >= CpuSet::MAX_CPU {
            return Err(wrong());
        }
        (first..=last).for_each(|number| set.set(number));
    }
    Ok(set)
}
