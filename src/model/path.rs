//! Paths compared by what they say; no disk is asked.

use std::path::{Component, Path, PathBuf};

/// A path without `.`, `..` and needless slashes. `..` takes away what is before it, wherever a symbolic link there
/// would lead.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // Above the root there is nothing.
            Component::ParentDir => drop(normal.pop()),
            other => normal.push(other),
        }
    }
    normal
}

/// The one of `known` that a path means, however both are spelt.
pub fn meant<'k, P: AsRef<Path>>(known: &'k [P], path: &Path) -> Option<&'k P> {
    let path = normal(path);
    known.iter().find(|known| normal(known.as_ref()) == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        for (path, expected) in [
            ("/var/lib/lxc", "/var/lib/lxc"),
            ("/var/lib/lxc//", "/var/lib/lxc"),
            ("//var/./lib//lxc/.", "/var/lib/lxc"),
            ("/x/../var/lib/y/z/../../lxc", "/var/lib/lxc"),
            ("/../../lxc", "/lxc"),
            ("/lxc/..", "/"),
            ("/", "/"),
            ("lxc/", "lxc"),
        ] {
            assert_eq!(normal(Path::new(path)).as_os_str(), expected, "{path}");
        }
        let known = ["/srv/lxc", "/srv/a/../more"];
        for (path, expected) in [
            ("/srv/lxc/", Some(&known[0])),
            ("/srv/./more", Some(&known[1])),
            ("/srv", None),
            ("srv/lxc", None),
        ] {
            assert_eq!(meant(&known, Path::new(path)), expected, "{path}");
        }
    }
}
