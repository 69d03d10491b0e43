//! What a native guest uses, by the cgroups that its init is in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    guest_run::PAYLOAD,
    launch::{cgroup::entries, usage},
    model::Usage,
};

/// What a guest uses whose init this is; none when that has ended.
pub fn usage(init: i32) -> Option<Usage> {
    let table = fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
    let own = entries(&table).map(|(controllers, path)| (controllers, own(path)));
    Some(usage::read(&own.collect::<Vec<_>>()))
}

/// The guest's part of its cgroup: its init may have made others below.
fn own(path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    let above = path.ancestors().filter(|path| path.ends_with(PAYLOAD)).last();
    above.unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_init_has_made_for_itself_is_inside() {
        for (path, expected) in [
            ("/guestd.web/payload/init.scope", "guestd.web/payload"),
            ("/machine.slice/guest-web.service/payload", "machine.slice/guest-web.service/payload"),
            ("/guestd.web/payload/a/payload", "guestd.web/payload"),
            ("/", ""),
        ] {
            assert_eq!(own(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
