//! Which cgroups are a container's own, and which only look like it.
//!
//! LXC names them `lxc.monitor.NAME` and `lxc.payload.NAME`, and adds `-1`, `-2`, … when a name is taken. So
//! `lxc.payload.web-1` may belong to `web` or to `web-1`, and `lxc.payload.web` to the `web` of another lxcpath. What
//! a container's processes are in is its own; by name alone only what no other container can claim.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::timeout;

use super::{
    command::{CommandError, Monitor},
    locate,
    socket::{self, Address},
};
use crate::{
    launch::{
        Cgroups,
        cgroup::{self, Folders},
    },
    model::{Guest, LxcSpec},
};

/// The time a monitor has to tell its container's name.
const ANSWER: Duration = Duration::from_millis(300);
const PREFIXES: [&str; 2] = ["lxc.monitor.", "lxc.payload."];

/// What a cgroup's name says about its container: the container's name as it stands there, number and all.
fn claimed_name<'a>(cgroup: &'a str, name: &str) -> Option<&'a str> {
    let rest = PREFIXES.iter().find_map(|prefix| cgroup.strip_prefix(prefix))?;
    is_alike(rest, name).then_some(rest)
}

/// Whether it is this name, or the name with a number behind it.
fn is_alike(text: &str, name: &str) -> bool {
    let Some(suffix) = text.strip_prefix(name) else { return false };
    let number = suffix.strip_prefix('-').unwrap_or_default();
    suffix.is_empty() || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The cgroups that processes of the container are in, up to LXC's own part of the path.
pub(super) fn of_processes(pids: impl IntoIterator<Item = i32>, name: &str) -> BTreeSet<PathBuf> {
    let tables = pids.into_iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok());
    tables.flat_map(|table| of_table(&table, name)).collect()
}

fn of_table(table: &str, name: &str) -> BTreeSet<PathBuf> {
    cgroup::paths(table).filter_map(|path| up_to_lxc(path, name)).collect()
}

/// The cgroup up to LXC's own part of the path.
pub(super) fn up_to_lxc(path: &Path, name: &str) -> Option<PathBuf> {
    let mut kept = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => kept.push(part),
            Component::RootDir => continue,
            _ => return None,
        }
        if part.as_os_str().to_str().is_some_and(|part| claimed_name(part, name).is_some()) {
            return Some(kept);
        }
    }
    None
}

/// The names of the other containers that run and could own such cgroups, in whatever lxcpath. One whose name cannot be
/// learned could have any.
struct Others {
    names: BTreeSet<Vec<u8>>,
    unknown: bool,
}

impl Others {
    async fn look(guest: &Guest, spec: &LxcSpec) -> io::Result<Self> {
        let own = socket::command(&spec.lxcpath, guest.name.as_str());
        let may_own =
            |name: &[u8]| std::str::from_utf8(name).is_ok_and(|name| is_alike(name, guest.name.as_str()));
        let mut others = Self { names: BTreeSet::new(), unknown: false };
        for address in
            socket::listeners()?.into_iter().map(|listener| listener.name).filter(|name| *name != own)
        {
            match socket::container(&address) {
                Some(Address::Named(name)) if !may_own(name) || socket::is_foreign(&address).await => {}
                Some(Address::Named(name)) => others.names.extend([name.to_vec()]),
                Some(Address::Hashed) => match timeout(ANSWER, Monitor::at(address).name()).await {
                    Ok(Ok(name)) => others.names.extend([name]),
                    // It ended this moment, or never was a container of root's.
                    Ok(Err(CommandError::NotListening | CommandError::Foreign(_))) => {}
                    _ => others.unknown = true,
                },
                None => {}
            }
        }
        Ok(others)
    }

    /// Whether another container of this name runs.
    fn run(&self, name: &str) -> bool {
        self.unknown || self.names.contains(name.as_bytes())
    }
}

/// The cgroups with the container's name that no running container can claim: what is empty there may go. They are looked
/// at before the containers are: one that begins only then makes new ones.
pub(super) async fn removable(guest: &Guest, spec: &LxcSpec) -> io::Result<Folders> {
    let name = guest.name.as_str();
    let present = cgroup::top_level(|cgroup| claimed_name(cgroup, name).is_some())?;
    if present.is_empty() {
        return Ok(Folders::default());
    }
    let mut found = cgroup::folders(&Cgroups(present.into_iter().map(PathBuf::from).collect()))?;
    let own = by_name(guest, spec, |_| true).await?;
    // Somebody may have started it again.
    let is_down = socket::running(&spec.lxcpath, [&guest.name])?.is_empty();
    found.retain(|path| is_down && own.0.iter().any(|own| own == path));
    Ok(found)
}

/// Those of them in which something runs, and that no container configured in the lxcpaths `known` can claim either:
/// what runs there is the container's.
pub(super) async fn killable(known: &[Arc<Path>], guest: &Guest, spec: &LxcSpec) -> io::Result<Cgroups> {
    let own = spec.config(&guest.name);
    let paths: BTreeSet<_> = known.iter().chain([&spec.lxcpath]).collect();
    let named = by_name(guest, spec, |name| {
        let configs = paths.iter().map(|path| path.join(name).join("config"));
        configs.filter(|config| *config != own).all(|config| !config.exists())
    });
    let mut cgroups = named.await?;
    cgroups.0.retain(|path| {
        let inside = cgroup::processes(&Cgroups(vec![path.clone()]));
        // One that is empty may be a namesake's the next moment.
        inside.is_ok_and(|pids| {
            !pids.is_empty() && !pids.into_iter().any(|pid| locate::is_anothers(pid, guest, spec))
        })
    });
    Ok(cgroups)
}

async fn by_name(guest: &Guest, spec: &LxcSpec, accept: impl Fn(&str) -> bool) -> io::Result<Cgroups> {
    let name = guest.name.as_str();
    let present = cgroup::top_level(|cgroup| claimed_name(cgroup, name).is_some())?;
    if present.is_empty() {
        return Ok(Cgroups::default());
    }
    let others = Others::look(guest, spec).await?;
    // `lxc.payload.web-1` may be that of `web-1`, and that of a `web` of another lxcpath that came second.
    let is_free = |name: &str| !others.run(name) && accept(name);
    let is_own = |cgroup: &String| claimed_name(cgroup, name).is_some_and(is_free);
    let own = if is_free(name) {
        present.into_iter().filter(is_own).map(PathBuf::from).collect()
    } else {
        Vec::new()
    };
    Ok(Cgroups(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_belong_to_the_name_or_are_one() {
        assert_eq!(claimed_name("lxc.payload.web", "web"), Some("web"));
        assert_eq!(claimed_name("lxc.monitor.web-12", "web"), Some("web-12"));
        for other in [
            "lxc.payload.web2",
            "lxc.payload.web-",
            "lxc.payload.web-1x",
            "lxc.payload.we",
            "lxc.pivot",
            "web",
        ] {
            assert_eq!(claimed_name(other, "web"), None, "{other}");
        }
    }

    #[test]
    fn paths_are_cut_at_lxcs_part() {
        let table = "9:name=systemd:/lxc.payload.web/init.scope\n6:freezer:/a/lxc.payload.web-1/b:c\n1:cpu:/\n\
            2:pids:/lxc.payload.web2\n0::/lxc.payload.web\n";
        let found = of_table(table, "web");
        assert_eq!(found, ["a/lxc.payload.web-1", "lxc.payload.web"].map(PathBuf::from).into());
    }
}
