//! `mounts`: those beyond what the monitor mounts in every guest.

use std::path::Path;

use oci_spec::runtime::{Mount as OciMount, Spec};

use crate::{
    import::{
        LIST_MAX,
        native::mounts::{BIND, kind_of, options_of, sound, target_of},
    },
    model::Mount,
};

use super::Reader;

/// What the monitor has in every guest, by path and type; "" is any type.
const USUAL: [(&str, &str); 9] = [
    ("/proc", "proc"),
    ("/dev", "tmpfs"),
    ("/dev/pts", "devpts"),
    ("/dev/shm", "tmpfs"),
    ("/dev/mqueue", "mqueue"),
    ("/sys", "sysfs"),
    ("/sys/fs/cgroup", "cgroup"),
    ("/sys/fs/cgroup", "cgroup2"),
    ("/run", "tmpfs"),
];

/// Whom a mount tells of further mounts below it (mount_namespaces(7)).
const PROPAGATION: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

impl Reader<'_> {
    pub(super) fn mounts(&mut self, spec: &Spec) {
        let Some(said) = spec.mounts() else { return };
        if said.len() > LIST_MAX {
            return self.wrong("mounts", said.len(), &format!("at most {LIST_MAX} of them"));
        }
        let mut mounts = Vec::new();
        for mount in said.iter().filter(|mount| !is_usual(mount)) {
            let of = mount.destination().display().to_string();
            match self.mount(mount) {
                Ok(mount) => match sound(mount) {
                    Ok(mount) => mounts.push(mount),
                    Err(wrong) => {
                        self.findings
                            .error(None, || format!("the mount {} is ignored: {wrong}", super::shown(&of)));
                    }
                },
                Err(wanted) => self.wrong(&format!("the mount {}", super::shown(&of)), &of, wanted),
            }
            if mount.uid_mappings().is_some() || mount.gid_mappings().is_some() {
                self.findings.warning(None, || {
                    format!("the mount {} is not mapped to other ids: uidMappings of mounts are not used", of)
                });
            }
        }
        self.native.mounts = self.said(mounts);
    }

    fn mount(&self, said: &OciMount) -> Result<Mount, &'static str> {
        let target = said.destination().to_str().and_then(target_of);
        let target = target.ok_or("mounted at an absolute path below \"/\", without \"..\"")?;
        let options = said.options().iter().flatten().map(|option| options_of(option));
        let options = options.collect::<Result<Vec<_>, _>>().map_err(|_| "given options such as \"ro\"")?;
        let mut options = options.concat();
        // What is mounted in a guest, or by it, is never seen outside.
        options.retain(|option| !PROPAGATION.contains(&option.as_str()));
        let is_bind = options.iter().any(|option| ["bind", "rbind"].contains(&option.as_str()))
            || said.typ().as_deref() == Some(BIND);
        if !is_bind {
            let kind = said.typ().as_deref().and_then(kind_of).ok_or("given a type, such as \"tmpfs\"")?;
            let source = said.source().as_deref().map_or(Ok(kind.as_str()), text);
            return Ok(Mount { source: source?.to_owned(), target, kind, options, optional: false });
        }
        options.retain(|option| option != BIND);
        let source = said.source().as_deref().ok_or("given a source, the path of a file or folder")?;
        let source = text(&self.in_bundle(source))?.to_owned();
        Ok(Mount { source, target, kind: BIND.into(), options, optional: false })
    }
}

fn text(path: &Path) -> Result<&str, &'static str> {
    let text = path.to_str().filter(|text| !text.is_empty() && !text.contains(char::is_control));
    text.ok_or("given a source in one line")
}

fn is_usual(mount: &OciMount) -> bool {
    let (at, kind) = (crate::model::path::normal(mount.destination()), mount.typ().as_deref());
    USUAL.iter().any(|(path, usual)| at == Path::new(path) && kind == Some(usual))
}
