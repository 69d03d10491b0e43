//! Programs that start a guest and wait for its end, each told to make the same of the same root: namespaces for processes, mounts,
//! host name, IPC, network and cgroups; limits of memory and processes; devices, capabilities and system calls as is usual for
//! each.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use guestd::{
    engine::{
        Engine,
        native::{Ground, NativeEngine},
    },
    guest_run::spec::Place,
    launch::{Cgroups, Direct, Launcher},
    model::{
        Amount, EngineSpec, Guest, NativeSpec, Resource,
        native::{InitProgram, Root as Source},
    },
};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    thread::{UnshareFlags, unshare_unsafe},
};
use serde_json::{Value, json};

use crate::{
    MONITOR,
    ground::{HYBRID, Natives, Root, is_unified},
    host,
};

/// The first id on the host of a guest's users, for those who are told.
pub const FIRST: u32 = 1_000_000;
const COUNT: u32 = 65536;
const MEMORY: u64 = 256 * 1024 * 1024;
const PROCESSES: u64 = 100;
/// System calls that the OCI runtimes refuse: some of those that guest-run does.
const REFUSED: [&str; 9] = [
    "add_key",
    "bpf",
    "delete_module",
    "finit_module",
    "init_module",
    "kexec_load",
    "keyctl",
    "open_by_handle_at",
    "perf_event_open",
];

/// A program that starts a guest.
pub struct Starter {
    pub name: &'static str,
    pub command: Box<dyn Fn() -> Command>,
}

/// Whom to measure in this folder: guest-run first. `root` belongs to the host's root, `mapped` to the guests'.
pub fn all(folder: &Path, root: &Root, mapped: &Root, users: bool, natives: &Natives) -> Vec<Starter> {
    let own = if users { mapped } else { root };
    let mut all = vec![guest_run(folder, root, users, natives)];
    all.push(runtime("runc", folder, own, users, false));
    // It refuses to work where the cgroups of v2 are mounted beside others.
    all.push(runtime("crun", folder, own, users, !is_unified() && Path::new(HYBRID).exists()));
    all.push(lxc(folder, own, users));
    all.push(nspawn(own, users));
    all
}

/// With what the engine itself writes for it, which runs it once.
fn guest_run(folder: &Path, root: &Root, users: bool, natives: &Natives) -> Starter {
    let runtime = folder.join(if users { "run-users" } else { "run" });
    fs::create_dir(&runtime).expect("a folder");
    let mut spec = NativeSpec::new(Source::Folder(root.path.clone()));
    spec.user_namespace = users;
    spec.security = guestd::model::native::Security::usual(users);
    spec.init.program = InitProgram::Exec(["/init", "end"].map(str::to_owned).to_vec());
    let name = natives.0[usize::from(users)].clone();
    let mut guest = Guest::new(name, EngineSpec::Native(Arc::new(spec)));
    guest.resources =
        [(Resource::MemoryMax, Amount::Bytes(MEMORY)), (Resource::TasksMax, Amount::Number(PROCESSES))]
            .into_iter()
            .collect();
    let place = Place::of(&runtime, &guest.name).folder().to_owned();
    let ground = Ground {
        state_dir: folder.join("state"),
        runtime_dir: runtime,
        monitor: Some(MONITOR.into()),
        helper: None,
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio.block_on(async {
        let (sink, _seen) = tokio::sync::mpsc::unbounded_channel();
        let engine = NativeEngine::new(Arc::new(Direct::default()), ground, sink);
        engine.start(&guest).await.expect("a native guest");
    });
    root.hear('u');
    host_waits_for_its_end(&place);
    Starter {
        name: "guest-run",
        command: Box::new(move || {
            let mut command = Command::new(MONITOR);
            command.arg("--foreground").arg(&place);
            command
        }),
    }
}

fn host_waits_for_its_end(place: &Path) {
    let place = Place::at(place.to_owned());
    host::wait_for("the monitor to end", || (!place.socket().exists()).then_some(()));
}

fn runtime(program: &'static str, folder: &Path, root: &Root, users: bool, hides_unified: bool) -> Starter {
    let id = id(program, users);
    let bundle = folder.join(&id);
    fs::create_dir(&bundle).expect("a folder");
    let made = Command::new("runc").args(["spec", "-b"]).arg(&bundle).output().expect("runc");
    assert!(made.status.success(), "{made:?}");
    let path = bundle.join("config.json");
    let text = fs::read(&path).expect("a configuration");
    let config = configured(serde_json::from_slice(&text).expect("JSON"), &root.path, users, &id);
    fs::write(&path, config.to_string()).expect("a configuration");
    let state = folder.join(format!("{id}.state"));
    Starter {
        name: program,
        command: Box::new(move || {
            let mut command = Command::new(program);
            command.arg("--root").arg(&state).args(["run", "-b"]).arg(&bundle).arg(&id);
            if hides_unified {
                // SAFETY: it makes system calls only.
                unsafe { command.pre_exec(hide_unified) };
            }
            command
        }),
    }
}

/// runc's own default, with what is the same for all.
fn configured(mut config: Value, root: &Path, users: bool, id: &str) -> Value {
    config["process"]["args"] = json!(["/init", "end"]);
    config["process"]["terminal"] = json!(false);
    config["root"] = json!({ "path": root, "readonly": false });
    config["hostname"] = json!("guest");
    let linux = &mut config["linux"];
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    if users {
        namespaces.push("user");
        let mapping = json!([{ "containerID": 0, "hostID": FIRST, "size": COUNT }]);
        linux["uidMappings"] = mapping.clone();
        linux["gidMappings"] = mapping;
    }
    linux["namespaces"] = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    linux["cgroupsPath"] = json!(format!("/{id}"));
    linux["resources"]["memory"] = json!({ "limit": MEMORY });
    linux["resources"]["pids"] = json!({ "limit": PROCESSES });
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{ "names": REFUSED, "action": "SCMP_ACT_ERRNO" }],
    });
    for target in ["/run", "/tmp"] {
        let mount = json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"] });
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    }
    config
}

/// Covers the cgroups of v2, for this process and those it starts.
fn hide_unified() -> std::io::Result<()> {
    // SAFETY: the process has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    unmount(HYBRID, UnmountFlags::DETACH)?;
    Ok(mount("tmpfs", HYBRID, "tmpfs", MountFlags::empty(), None)?)
}

/// With the configuration that LXC brings for every container.
fn lxc(folder: &Path, root: &Root, users: bool) -> Starter {
    let path = folder.join("lxc");
    let name = if users { "users" } else { "plain" };
    fs::create_dir_all(path.join(name)).expect("a folder");
    let mut lines = vec!["lxc.include = /usr/share/lxc/config/common.conf".to_owned()];
    if users {
        lines.push("lxc.include = /usr/share/lxc/config/userns.conf".to_owned());
        lines.extend(["u", "g"].map(|kind| format!("lxc.idmap = {kind} 0 {FIRST} {COUNT}")));
    }
    lines.push(format!("lxc.rootfs.path = dir:{}", root.path.display()));
    let limits = match is_unified() {
        true => ["lxc.cgroup2.memory.max", "lxc.cgroup2.pids.max"],
        false => ["lxc.cgroup.memory.limit_in_bytes", "lxc.cgroup.pids.max"],
    };
    lines.extend(limits.into_iter().zip([MEMORY, PROCESSES]).map(|(key, limit)| format!("{key} = {limit}")));
    lines.extend(
        [
            "lxc.init.cmd = /init end",
            "lxc.uts.name = guest",
            "lxc.net.0.type = empty",
            "lxc.apparmor.profile = unconfined",
            "lxc.mount.entry = tmpfs run tmpfs nosuid,nodev 0 0",
            "lxc.mount.entry = tmpfs tmp tmpfs nosuid,nodev 0 0",
        ]
        .map(str::to_owned),
    );
    fs::write(path.join(name).join("config"), lines.join("\n") + "\n").expect("a configuration");
    Starter {
        name: "lxc-start",
        command: Box::new(move || {
            let mut command = Command::new("lxc-start");
            command.arg("-F").arg("-P").arg(&path).args(["-n", name]);
            command
        }),
    }
}

/// What systemd-nspawn calls its guest.
fn machine() -> String {
    format!("bench{}", std::process::id())
}

/// Without limits, which only systemd as PID 1 would set for it.
fn nspawn(root: &Root, users: bool) -> Starter {
    let root: PathBuf = root.path.clone();
    Starter {
        name: "systemd-nspawn",
        command: Box::new(move || {
            let mut command = Command::new("systemd-nspawn");
            command.args(["-q", "--register=no", "--keep-unit", "--private-network", "--link-journal=no"]);
            command.args(["--resolv-conf=off", "--timezone=off", "--console=pipe"]);
            command.arg("-M").arg(machine()).arg("-D").arg(&root);
            if users {
                command.arg(format!("--private-users={FIRST}:{COUNT}"));
            }
            command.args(["/init", "end"]);
            command
        }),
    }
}

/// Removes what starters leave behind.
pub fn sweep() {
    let ids = ["runc", "crun"].into_iter().flat_map(|program| [false, true].map(|users| id(program, users)));
    let cgroups = Cgroups(ids.map(PathBuf::from).collect());
    let _ = Direct::default().remove(&cgroups);
    let _ = fs::remove_dir(Path::new("/run/systemd/nspawn/propagate").join(machine()));
}

/// What an OCI runtime calls its guest.
fn id(program: &str, users: bool) -> String {
    format!("bench{}-{program}{}", std::process::id(), if users { "-users" } else { "" })
}

/// Whether a starter works here at all: what it said where it does not.
pub fn refusal(starter: &Starter, root: &Root) -> Option<Output> {
    let output = (starter.command)().stdin(std::process::Stdio::piped()).output().ok()?;
    if output.status.success() {
        root.hear('u');
        return None;
    }
    Some(output)
}
