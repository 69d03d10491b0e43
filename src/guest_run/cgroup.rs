//! A guest's cgroups: one folder of its own in each hierarchy, with `payload` for the guest and, in v2, `monitor` for the
//! monitor, since there processes are at the leaves only (cgroups(7)).
//!
//! The first process that is written to a `cgroup.procs` waits for the kernel, 10 to 20 ms on an idle host. So the guest's
//! process is made in its cgroup of v2 (`CLONE_INTO_CGROUP`), and puts itself, alone as it is, into those of v1 by `tasks`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, chown},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    devices,
    say::say,
    spec::{Ids, Placement},
    trouble::{Doing, Run, RunError},
};
use crate::{
    launch::{
        Cgroups, cgroup,
        hierarchy::{Hierarchy, Kind, hierarchies},
        memory,
    },
    model::{Amount, GuestName, Resources},
};

mod setting;

/// The guest's part of its cgroups.
pub const PAYLOAD: &str = "payload";
const MONITOR: &str = "monitor";
/// What a guest can have of a cgroup of v2.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// The files for a cgroup's processors and memory nodes.
const PROCESSORS: &str = "cpuset.cpus";
/// See [`PROCESSORS`].
const MEMORIES: &str = "cpuset.mems";
/// How deep a guest may nest cgroups below its own: less than is looked for its processes (`launch::cgroup`).
const DEPTH_MAX: &str = "30";
/// How many cgroups a guest may make.
const DESCENDANTS_MAX: &str = "4096";
/// How long what is left of an earlier run may take to end, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(3);
/// See [`PATIENCE`].
const ROUND: Duration = Duration::from_millis(10);
/// What belongs to the guest's root in a cgroup that is delegated to it (systemd.resource-control(5), "Delegate=").
const DELEGATED: [&str; 4] = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

/// The name at the top of the hierarchies, where a guest has no unit.
pub fn top(guest: &GuestName) -> String {
    format!("guestd.{guest}")
}

/// A guest's cgroups, as they were made.
#[derive(Debug)]
pub struct Group {
    v1: Vec<PathBuf>,
    v2: Option<PathBuf>,
    /// Whose removal is ours.
    is_ours: bool,
    /// The path below the mounts.
    path: PathBuf,
}

impl Group {
    /// Makes them. Processes that an earlier run has left there are killed: its monitor was, and they have seen to it that this did
    /// not end them.
    ///
    /// # Errors
    /// When that is impossible, or a limit cannot be set.
    pub fn make(placement: &Placement, resources: &Resources, ids: Option<Ids>) -> Run<Self> {
        let found = hierarchies().doing("read what is mounted")?;
        let group = match placement {
            Placement::Unit => {
                let group = Self::of_unit(&found)?;
                end_earlier(&group.path, &group.path.join(PAYLOAD))?;
                group
            }
            Placement::Top(name) => {
                end_earlier(Path::new(name), Path::new(name))?;
                Self::at_top(&found, name)
            }
        };
        group.build(resources, ids).inspect_err(|_| group.remove())?;
        Ok(group)
    }

    fn build(&self, resources: &Resources, ids: Option<Ids>) -> Run<()> {
        if let Some(base) = &self.v2 {
            if self.is_ours {
                base.parent().into_iter().for_each(delegate);
                make(base)?;
            }
            let monitor = base.join(MONITOR);
            make(&monitor)?;
            if !self.is_ours {
                write(&monitor.join("cgroup.procs"), "0")?;
            }
            delegate(base);
            let payload = base.join(PAYLOAD);
            make(&payload)?;
            // Whoever looks for the guest's processes looks no deeper, and at no more; and the whole host has 65535 with memory.
            let _ = fs::write(base.join("cgroup.max.depth"), DEPTH_MAX);
            let _ = fs::write(base.join("cgroup.max.descendants"), DESCENDANTS_MAX);
            for file in DELEGATED.iter().filter(|_| ids.is_some()) {
                let owner = ids.map(|ids| ids.first);
                chown(payload.join(file), owner, owner)
                    .doing(format_args!("delegate {}", payload.display()))?;
            }
        }
        for base in &self.v1 {
            make(base)?;
            make(&base.join(PAYLOAD))?;
        }
        if self.is_ours { self.limit(resources) } else { Ok(()) }
    }

    /// Those of a guest that runs, by its init; none where they cannot be found.
    pub fn find(placement: &Placement, init: i32) -> Option<Self> {
        let found = hierarchies().ok()?;
        let (path, is_ours) = match placement {
            Placement::Top(name) => (PathBuf::from(name), true),
            Placement::Unit => {
                let table = fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
                let path = table.lines().find_map(|line| line.strip_prefix("0::/"))?;
                // The init may have made cgroups of its own below.
                let mut above = Path::new(path).ancestors();
                (above.find(|path| path.ends_with(PAYLOAD))?.parent()?.to_owned(), false)
            }
        };
        let bases = |is_v2: bool| {
            let of_kind = found.iter().filter(move |hierarchy| hierarchy.is_v2() == is_v2);
            of_kind.map(|hierarchy| hierarchy.mount.join(&path)).filter(|base| base.join(PAYLOAD).is_dir())
        };
        let v2 = bases(true).next();
        Some(Self { v1: bases(false).filter(|_| is_ours).collect(), v2, is_ours, path: path.clone() })
    }

    /// Those of the unit that we are in. PID 1 limits the unit as a whole.
    fn of_unit(found: &[Hierarchy]) -> Run<Self> {
        let table = fs::read_to_string("/proc/self/cgroup").doing("read /proc/self/cgroup")?;
        let path = table.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        // One that took over after an exec is in it already.
        let path = PathBuf::from(path.strip_suffix("/monitor").unwrap_or(path));
        let v2 =
            found.iter().find(|hierarchy| hierarchy.is_v2()).filter(|_| path.components().next().is_some());
        let v2 = v2.map(|hierarchy| hierarchy.mount.join(&path));
        Ok(Self { v1: Vec::new(), v2, is_ours: false, path })
    }

    fn at_top(found: &[Hierarchy], name: &str) -> Self {
        let base = |hierarchy: &Hierarchy| hierarchy.mount.join(name);
        // Nobody can be in a cgroup of cpuset before processors are named there.
        let is_used = |hierarchy: &&Hierarchy| !hierarchy.is_v2() && !is_cpuset(hierarchy);
        let v1 = found.iter().filter(is_used).map(base).collect();
        let v2 = found.iter().find(|hierarchy| hierarchy.is_v2()).map(base);
        Self { v1, v2, is_ours: true, path: name.into() }
    }

    fn limit(&self, resources: &Resources) -> Run<()> {
        for (resource, amount) in resources.iter() {
            let v2 = self.v2.iter().filter_map(|base| Some((base, setting::v2(resource, amount)?)));
            let v1 = self.v1.iter().filter_map(|base| Some((base, setting::v1(resource, amount)?)));
            let mut fits = v2.chain(v1).filter(|(base, (file, _))| base.join(file).exists()).peekable();
            if fits.peek().is_none() && amount != Amount::Infinity {
                let text = format!("this host has no cgroup controller for {}", resource.setting());
                return Err(RunError::Configuration(text));
            }
            for (base, (file, value)) in fits {
                write(&base.join(file), &value)?;
            }
        }
        Ok(())
    }

    /// Has the guest run on these processors only, whatever its processes ask for (cpuset(7)). Without a controller for it that is
    /// told, and they may ask for others.
    ///
    /// # Errors
    /// When the kernel refuses them.
    pub fn confine(&mut self, processors: &str) -> Run<()> {
        let payloads = self.v2.iter().map(|base| base.join(PAYLOAD).join(PROCESSORS));
        if let Some(file) = payloads.into_iter().find(|file| file.exists()) {
            // Its root may change what is at the top of what it sees, where cgroups are not mounted with nsdelegate.
            let above = self.v2.iter().filter(|_| self.is_ours).map(|base| base.join(PROCESSORS));
            above.into_iter().try_for_each(|file| write(&file, processors))?;
            return write(&file, processors);
        }
        let found = hierarchies().doing("look for cgroups")?;
        let of_v1 = found.iter().find(|hierarchy| is_cpuset(hierarchy)).filter(|_| self.is_ours);
        let Some(hierarchy) = of_v1 else {
            say(
                "no cgroup controller for processors is left to guests here: its processes may choose others",
            );
            return Ok(());
        };
        let base = hierarchy.mount.join(&self.path);
        for folder in [base.clone(), base.join(PAYLOAD)] {
            make(&folder)?;
            write(&folder.join(PROCESSORS), processors)?;
            // Nobody can be in it before both are named.
            let above = folder.parent().unwrap_or(&folder).join(MEMORIES);
            let memories = fs::read_to_string(&above).doing(format_args!("read {}", above.display()))?;
            write(&folder.join(MEMORIES), memories.trim())?;
        }
        self.v1.push(base);
        Ok(())
    }

    /// Lets only these devices be used by the guest.
    ///
    /// # Errors
    /// When they cannot be limited.
    pub fn limit_devices(&self, extra: &[PathBuf]) -> Run<()> {
        let by_v1 = self.v1.iter().find(|base| base.join("devices.deny").exists());
        match (self.payload()?, by_v1) {
            (None, Some(base)) => devices::limit_v1(&base.join(PAYLOAD), extra),
            (payload, _) => devices::limit_v2(payload.as_ref(), extra),
        }
    }

    /// The guest's cgroup of v2, for clone3(2).
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn payload(&self) -> Run<Option<OwnedFd>> {
        self.v2.as_ref().map(|base| folder(&base.join(PAYLOAD))).transpose()
    }

    /// The monitor's.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn monitor(&self) -> Run<Option<OwnedFd>> {
        let base = self.v2.as_ref().filter(|_| self.is_ours);
        base.map(|base| folder(&base.join(MONITOR))).transpose()
    }

    /// The files by which the guest's process joins those of v1.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn tasks(&self) -> Run<Vec<File>> {
        let open = |base: &PathBuf| {
            let path = base.join(PAYLOAD).join("tasks");
            OpenOptions::new().write(true).open(&path).doing(format_args!("open {}", path.display()))
        };
        self.v1.iter().map(open).collect()
    }

    /// The monitor joins those of v1.
    ///
    /// # Errors
    /// When it is refused.
    pub fn join(&self) -> Run<()> {
        self.v1.iter().try_for_each(|base| write(&base.join("tasks"), "0"))
    }

    /// The cgroup of v2 that a process of the guest is in: its own may have given its controllers to others below, and takes
    /// nobody then.
    ///
    /// # Errors
    /// When it is no process of the guest, or the cgroup cannot be opened.
    pub fn of_process(&self, pid: i32) -> Run<Option<OwnedFd>> {
        let Some(base) = &self.v2 else { return Ok(None) };
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).doing("find its cgroup")?;
        let path = table.lines().find_map(|line| line.strip_prefix("0::/")).map(Path::new);
        let below = path.and_then(|path| path.strip_prefix(&self.path).ok());
        let below = below.ok_or_else(|| RunError::Inside("it is in another cgroup".into()))?;
        folder(&base.join(below)).map(Some)
    }

    /// Takes away what a run before has made in the guest's part, which takes no process else.
    pub fn clear(&self) {
        for base in self.v1.iter().chain(&self.v2) {
            let entries = fs::read_dir(base.join(PAYLOAD)).into_iter().flatten().flatten();
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let below = below.map(|entry| self.path.join(PAYLOAD).join(entry.file_name())).collect();
            let _ = cgroup::remove_empty(&Cgroups(below));
        }
        let Some(base) = &self.v2 else { return };
        let given = base.join(PAYLOAD).join("cgroup.subtree_control");
        for controller in fs::read_to_string(&given).unwrap_or_default().split_whitespace() {
            // Where it is refused, so is the next init, with the reason.
            let _ = write(&given, &format!("-{controller}"));
        }
    }

    /// How many of the guest's processes the kernel has killed for want of memory; none where nobody counts them.
    pub fn memory_kills(&self) -> Option<u64> {
        memory::kills(&self.cgroups())
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups(vec![self.path.join(PAYLOAD)])
    }

    /// Every process of the guest.
    pub fn processes(&self) -> Vec<i32> {
        cgroup::processes(&self.cgroups()).unwrap_or_default().into_iter().collect()
    }

    /// Removes what is ours of them; the monitor leaves them first.
    pub fn remove(&self) {
        // What is left of them shows as such, and is used again by the next run.
        if self.is_ours {
            for base in self.v1.iter().chain(&self.v2) {
                let above = base.parent().unwrap_or(base);
                let file = if self.v2.as_ref() == Some(base) { "cgroup.procs" } else { "tasks" };
                let _ = write(&above.join(file), "0");
            }
            let _ = cgroup::remove_empty(&Cgroups(vec![self.path.clone()]));
        } else {
            let _ = cgroup::remove_empty(&self.cgroups());
        }
    }
}

/// Kills what an earlier run has left in the guest's part of these cgroups, and waits until nothing is; then removes all those in
/// `old` that are empty. With them go their rules for devices; and in one that was killed as a whole (cgroup.kill), or by somebody
/// in such a one, the kernel would kill every init.
fn end_earlier(base: &Path, old: &Path) -> Run<()> {
    let payload = Cgroups(vec![base.join(PAYLOAD)]);
    let until = Instant::now() + PATIENCE;
    loop {
        let left = cgroup::processes(&payload).doing("look for what is left of an earlier run")?;
        if left.is_empty() {
            let _ = cgroup::remove_empty(&Cgroups(vec![old.to_owned()]));
            return Ok(());
        }
        if Instant::now() > until {
            return Err(RunError::Inside("processes of an earlier run do not end".into()));
        }
        // Processes of a namespace above have the number 0 here.
        for pid in left.into_iter().filter(|pid| *pid > 0) {
            // SAFETY: it takes numbers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        thread::sleep(ROUND);
    }
}

fn is_cpuset(hierarchy: &Hierarchy) -> bool {
    matches!(&hierarchy.kind, Kind::V1(controllers) if controllers.iter().any(|one| &**one == "cpuset"))
}

fn folder(path: &Path) -> Run<OwnedFd> {
    let open = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    open.map(OwnedFd::from).doing(format_args!("open {}", path.display()))
}

fn make(path: &Path) -> Run<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.doing(format_args!("make the cgroup {}", path.display())),
    }
}

/// One write(2), which is how the kernel takes settings.
fn write(path: &Path, value: &str) -> Run<()> {
    let open = OpenOptions::new().write(true).open(path);
    open.and_then(|mut file| file.write_all(value.as_bytes()))
        .doing(format_args!("write {value} to {}", path.display()))
}

/// Lets cgroups below have what this one has, all at once. Where one is refused, kept by others, the rest is tried.
fn delegate(base: &Path) {
    let here = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    let words: Vec<String> = here
        .split_whitespace()
        .filter(|one| CONTROLLERS.contains(one))
        .map(|one| format!("+{one}"))
        .collect();
    let file = base.join("cgroup.subtree_control");
    if !words.is_empty() && write(&file, &words.join(" ")).is_err() {
        for word in &words {
            let _ = write(&file, word);
        }
    }
}
