//! The steps around a guest's init, carried out one by one and recorded.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    process::Stdio,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, unlinkat},
    mount::{UnmountFlags, unmount},
};

use super::{
    beneath,
    cgroup::Group,
    enter::{self, as_exit},
    mounts,
    namespace::Child,
    network::{self, Away},
    program,
    say::say,
    spec::{Place, Spec},
    standard::Standard,
    trouble::{Run, RunError},
};
use crate::{
    launch::{PATH, in_words},
    model::{Deed, Mount, Place as Where, Step},
};

/// How the kinds of file systems begin that only their own programs can mount.
const BY_PROGRAM: [&str; 4] = ["nfs", "cifs", "smb", "fuse"];
/// How deep a folder is emptied.
const DEPTH_MAX: usize = 32;

/// What steps work on.
pub struct Stage<'a> {
    /// The guest.
    pub spec: &'a Spec,
    /// Its files.
    pub place: &'a Place,
    /// Its root, on the host.
    pub root: &'a Path,
    /// Its cgroups.
    pub group: &'a Group,
    /// Its init, while one runs.
    pub init: Option<&'a Child>,
    /// Where the host's network is, while the monitor is in the guest's.
    pub away: Option<&'a Away>,
    /// What was mounted, to be taken away later: by files, since paths may lead elsewhere then.
    pub mounted: &'a mut Vec<OwnedFd>,
}

impl Stage<'_> {
    /// Carries steps out, in order, until one fails that must succeed.
    ///
    /// # Errors
    /// That one.
    pub fn carry_out(&mut self, steps: &[Step]) -> Run<()> {
        for step in steps {
            let result = self.one(step).map_err(|error| error.to_string());
            self.trace(&step.name, &result);
            match result {
                Ok(()) => {}
                Err(reason) if step.must_succeed => {
                    return Err(RunError::Step { name: step.name.clone(), reason });
                }
                Err(reason) => say(&format!("{}: {reason}", step.name)),
            }
        }
        Ok(())
    }

    /// Notes a step.
    pub fn trace(&self, name: &str, result: &Result<(), String>) {
        let outcome = match result {
            Ok(()) => "done",
            Err(reason) => reason,
        };
        let mut options = OpenOptions::new();
        let open = options.create(true).append(true).mode(0o600).open(self.place.trace());
        // Without it everything is done all the same.
        let _ = open.and_then(|mut file| {
            file.write_all(format!("{name}: {}\n", outcome.replace('\n', "; ")).as_bytes())
        });
    }

    fn one(&mut self, step: &Step) -> Run<()> {
        let failed = |error: io::Error| RunError::Inside(error.to_string());
        match &step.what {
            Deed::Run { argv, directory, success } => self.program(argv, directory, success),
            Deed::Mount(mount) => self.mount(mount, self.away).map_err(failed),
            Deed::RemoteMount(mount) => self.mount(mount, None).map_err(failed),
            Deed::Network => network::connect(self.spec, self.place, own_pid(), self.away),
            Deed::Empty(path) => self.empty(path).map_err(failed),
            Deed::Create(path) => self.create(path).map_err(failed),
            Deed::Remove(path) => self.remove(path).map_err(failed),
            Deed::Inside { argv } => self.inside(argv),
            Deed::Signal(number) => self.signal(*number),
            Deed::Await(seconds) => {
                if let Some(init) = self.init {
                    wait_for(init, Duration::from_secs(*seconds));
                }
                Ok(())
            }
            Deed::KillSequence(sequence) => {
                self.kill(sequence);
                Ok(())
            }
        }
    }

    /// Mounts below the root; what is not there and may be missing is left out.
    fn mount(&mut self, mount: &Mount, away: Option<&Away>) -> io::Result<()> {
        if mounts::is_missing(mount) {
            return Ok(());
        }
        let root = mounts::open_root(self.root)?;
        let by_program = BY_PROGRAM.iter().any(|kind| mount.kind.starts_with(kind));
        let tree = if by_program { self.mount_by_program(mount, away)? } else { mounts::make(mount)? };
        mounts::attach_beneath(root.as_fd(), tree.as_fd(), &mount.target)?;
        self.mounted.push(tree);
        Ok(())
    }

    /// A mount of a file system that has a program of its own for it, by mount(8): where only the monitor sees it, since that
    /// resolves paths by itself. Over the host's network, if the monitor is away from there.
    fn mount_by_program(&self, mount: &Mount, away: Option<&Away>) -> io::Result<OwnedFd> {
        let at = self.place.root();
        let mut command = program::command("mount");
        command.args(["-t", &mount.kind, &mount.source]).arg(&at);
        // One that goes on in the background would come when nobody expects it any more.
        let options: Vec<_> =
            mount.options.iter().map(String::as_str).filter(|option| *option != "bg").collect();
        if !options.is_empty() {
            command.args(["-o", &options.join(",")]);
        }
        network::on_host(&mut command, away);
        let output = command.env_clear().env("PATH", PATH).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let tree = mounts::copy(&at, mount);
        unmount(&at, UnmountFlags::DETACH)?;
        tree
    }

    fn program(&self, argv: &[String], directory: &Where, success: &[i32]) -> Run<()> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(RunError::Configuration("there is no program".into()));
        };
        let directory = match directory {
            Where::Root => self.root,
            Where::Folder(folder) => folder,
        };
        let mut command = program::command(program);
        command.args(arguments).env_clear().env("PATH", PATH).current_dir(directory).stdin(Stdio::null());
        network::on_host(&mut command, self.away);
        let status =
            command.status().map_err(|error| RunError::Inside(format!("cannot run {program}: {error}")))?;
        if status.success() || status.code().is_some_and(|code| success.contains(&code)) {
            return Ok(());
        }
        Err(RunError::Inside(format!("{program} ended with {}", in_words(status))))
    }

    fn inside(&self, argv: &[String]) -> Run<()> {
        let Some(init) = self.init else { return Err(RunError::Inside("it does not run".into())) };
        match as_exit(enter::run(self.spec, init, Some(self.group), (argv, &[]), Standard::Guests)?) {
            0 => Ok(()),
            code => Err(RunError::Inside(format!("{} ended with status {code}", argv.join(" ")))),
        }
    }

    fn signal(&self, number: i32) -> Run<()> {
        let Some(init) = self.init else { return Ok(()) };
        signal(init, number).map_err(|error| RunError::Inside(error.to_string()))
    }

    /// Until nothing is left, or the sequence is at its end.
    fn kill(&self, sequence: &[(i32, u64)]) {
        for (number, seconds) in sequence {
            if self.group.processes().is_empty() {
                return;
            }
            // Processes of a namespace above have the number 0 here.
            for pid in self.group.processes().into_iter().filter(|pid| *pid > 0) {
                // SAFETY: it takes numbers.
                unsafe { libc::kill(pid, *number) };
            }
            if let Some(init) = self.init {
                wait_for(init, Duration::from_secs(*seconds));
            }
        }
    }

    fn empty(&self, path: &str) -> io::Result<()> {
        let root = mounts::open_root(self.root)?;
        match beneath::open(&root, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(folder) => empty(&folder, DEPTH_MAX),
            Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, path: &str) -> io::Result<()> {
        let root = mounts::open_root(self.root)?;
        // What is there already is not opened: it may be a device, or a pipe.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        match beneath::open(&root, path, flags, Mode::from_raw_mode(0o644)) {
            Ok(_) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let root = mounts::open_root(self.root)?;
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = mounts::open_beneath(root.as_fd(), above);
        match above.and_then(|above| Ok(unlinkat(&above, name, AtFlags::empty())?)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// Removes every file below a folder, no folder, and nothing by a link.
fn empty(folder: &impl AsFd, depth: usize) -> io::Result<()> {
    let mut entries = Dir::read_from(folder)?;
    while let Some(entry) = entries.next().transpose()? {
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            if depth > 0 {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                empty(&rustix::fs::openat(folder, name, flags, Mode::empty())?, depth - 1)?;
            }
        } else {
            unlinkat(folder, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Sends a child a signal; one that has ended is no error.
///
/// # Errors
/// When there is no such signal.
pub fn signal(child: &Child, number: i32) -> io::Result<()> {
    // By its file: what asks a guest may still be at it when the monitor has waited for the init, whose number may be another's then.
    let pidfd = child.pidfd.as_raw_fd();
    // SAFETY: it takes numbers, and no structure.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, number, 0, 0) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        },
    }
}

/// Waits until it has ended, no longer than this. Whether it has.
pub fn wait_for(child: &Child, within: Duration) -> bool {
    program::ends(&child.pidfd, within).unwrap_or(false)
}

/// Empties a file, if it is there.
pub fn forget(path: &Path) {
    let _ = fs::remove_file(path);
}
