//! What of a bundle is not used, and what to write instead.

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxResources, Process, Spec};

use crate::{
    import::findings::Findings,
    model::{
        name::shown,
        native::{HIDDEN, READABLE},
    },
};

/// Tells what is said in a bundle and has no effect.
pub(super) fn tell(spec: &Spec, findings: &mut Findings) {
    let mut unused = |is_said: bool, key: &str, instead: &str| {
        if is_said {
            findings.warning(None, || format!("not used: {key}; {instead}"));
        }
    };
    let hooks = spec.hooks().as_ref().is_some_and(|hooks| {
        let stages = [
            hooks.create_runtime(),
            hooks.create_container(),
            hooks.start_container(),
            hooks.poststart(),
            hooks.poststop(),
        ];
        #[allow(deprecated, reason = "bundles have it nonetheless")]
        let first = hooks.prestart();
        stages.into_iter().chain([first]).flatten().any(|stage| !stage.is_empty())
    });
    unused(hooks, "hooks", "write commands into [hooks] of the guest's file; their stages are told there");
    unused(spec.vm().is_some(), "vm", "a native guest is no virtual machine");
    unused(spec.windows().is_some(), "windows", "guests of this host run Linux");
    unused(spec.solaris().is_some(), "solaris", "guests of this host run Linux");
    unused(spec.zos().is_some(), "zos", "guests of this host run Linux");
    if let Some(process) = spec.process() {
        of_process(process, &mut unused);
    }
    if let Some(linux) = spec.linux() {
        of_linux(linux, &mut unused);
    }
}

fn of_process(process: &Process, unused: &mut impl FnMut(bool, &str, &str)) {
    const PROFILES: &str = "native guests have no profile of their own";
    let is_said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    unused(is_said(process.apparmor_profile()), "process.apparmorProfile", PROFILES);
    unused(is_said(process.selinux_label()), "process.selinuxLabel", PROFILES);
    unused(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity", "write processors = \"...\"");
    let ambient = process.capabilities().as_ref().and_then(|sets| sets.ambient().as_ref());
    let is_root = process.user().uid() == 0;
    let has_ambient = ambient.is_some_and(|ambient| !ambient.is_empty());
    unused(has_ambient && !is_root, "process.capabilities.ambient", "an init that is not root has none");
}

fn of_linux(linux: &Linux, unused: &mut impl FnMut(bool, &str, &str)) {
    const RANGE: &str = "guestd gives each guest a range of ids of its own";
    const CGROUP: &str = "guestd gives each guest a cgroup of its own";
    unused(linux.seccomp().is_some(), "linux.seccomp", "guestd's default profile applies; see seccomp");
    let has_mappings = linux.uid_mappings().as_ref().is_some_and(|mappings| !mappings.is_empty());
    unused(has_mappings, "the range in linux.uidMappings", RANGE);
    unused(linux.cgroups_path().is_some(), "linux.cgroupsPath", CGROUP);
    let is_usual = |way: &String| way.is_empty() || way.ends_with("private") || way.ends_with("slave");
    let propagates = linux.rootfs_propagation().as_ref().is_some_and(|way| !is_usual(way));
    unused(propagates, "linux.rootfsPropagation", "what a guest mounts is seen in that guest only");
    let has_label = linux.mount_label().as_ref().is_some_and(|label| !label.is_empty());
    unused(has_label, "linux.mountLabel", "write a context among the options of a mount");
    unused(linux.intel_rdt().is_some(), "linux.intelRdt", "set it with resctrl on the host");
    unused(
        linux.memory_policy().is_some(),
        "linux.memoryPolicy",
        "start the guest's program with numactl(8)",
    );
    unused(linux.time_offsets().is_some(), "linux.timeOffsets", "guests have the clock of the host");
    unused(linux.net_devices().is_some(), "linux.netDevices", "write the interfaces into the guest's file");
    let flags = linux.personality().as_ref().and_then(|personality| personality.flags().as_ref());
    unused(flags.is_some_and(|flags| !flags.is_empty()), "linux.personality.flags", "write personality = 8");
    for namespace in linux.namespaces().iter().flatten() {
        let key = format!("linux.namespaces: {}", namespace.typ());
        unused(namespace.path().is_some(), &key, "a guest enters no namespace that is there already");
        unused(namespace.typ() == LinuxNamespaceType::Time, &key, "guests have the clock of the host");
    }
    of_paths(linux, unused);
    if let Some(resources) = linux.resources() {
        of_resources(resources, unused);
    }
}

/// The monitor hides and protects what is no guest's; `/sys` can be read only as a whole.
fn of_paths(linux: &Linux, unused: &mut impl FnMut(bool, &str, &str)) {
    let is_below = |path: &str, known: &str| {
        path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_hidden = |path: &str| HIDDEN.iter().any(|known| is_below(path, known));
    let is_readable =
        |path: &str| is_below(path, "/sys") || READABLE.iter().any(|known| is_below(path, known));
    for (key, paths, is_usual) in [
        ("linux.maskedPaths", linux.masked_paths(), &is_hidden as &dyn Fn(&str) -> bool),
        ("linux.readonlyPaths", linux.readonly_paths(), &|path| is_hidden(path) || is_readable(path)),
    ] {
        let other = paths.iter().flatten().find(|path| !is_usual(path));
        let key = format!("{key}: {}", shown(other.map_or("", |path| path)));
        unused(other.is_some(), &key, "write a [[mount]] over it, with options = [\"ro\"]");
    }
}

fn of_resources(resources: &LinuxResources, unused: &mut impl FnMut(bool, &str, &str)) {
    const OF_UNIT: &str = "set it on the guest's unit with systemctl set-property";
    let rules = resources.devices().iter().flatten();
    let allows = rules.into_iter().any(|rule| rule.allow());
    unused(allows, "linux.resources.devices", "write devices = [\"/dev/...\"] into the guest's file");
    let is_said = |number: Option<i64>| number.is_some_and(|number| number > 0);
    if let Some(memory) = resources.memory() {
        unused(is_said(memory.reservation()), "linux.resources.memory.reservation", OF_UNIT);
        let oom = memory.disable_oom_killer() == Some(true);
        unused(oom, "linux.resources.memory.disableOOMKiller", "the kernel has no such setting any more");
        unused(memory.swappiness().is_some(), "linux.resources.memory.swappiness", OF_UNIT);
    }
    if let Some(cpu) = resources.cpu() {
        let mems = cpu.mems().as_ref().is_some_and(|mems| !mems.is_empty());
        unused(mems, "linux.resources.cpu.mems", OF_UNIT);
        unused(is_said(cpu.realtime_runtime()), "linux.resources.cpu.realtimeRuntime", OF_UNIT);
        unused(cpu.burst().is_some_and(|burst| burst > 0), "linux.resources.cpu.burst", OF_UNIT);
    }
    let io = resources.block_io().as_ref();
    let devices = io.is_some_and(|io| {
        let rates = [
            io.throttle_read_bps_device(),
            io.throttle_write_bps_device(),
            io.throttle_read_iops_device(),
            io.throttle_write_iops_device(),
        ];
        io.weight_device().as_ref().is_some_and(|list| !list.is_empty())
            || rates.into_iter().flatten().any(|list| !list.is_empty())
    });
    unused(devices, "linux.resources.blockIO of single devices", OF_UNIT);
    let pages = resources.hugepage_limits().as_ref().is_some_and(|list| !list.is_empty());
    unused(pages, "linux.resources.hugepageLimits", OF_UNIT);
    unused(resources.network().is_some(), "linux.resources.network", OF_UNIT);
    unused(resources.rdma().is_some(), "linux.resources.rdma", OF_UNIT);
    unused(resources.unified().is_some(), "linux.resources.unified", OF_UNIT);
}
