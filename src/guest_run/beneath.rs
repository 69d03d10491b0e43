//! Paths below a guest's root, which no link and no `..` leaves (openat2(2)).

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
};

/// How often it is tried: whoever renames and mounts without a pause, anywhere on the host, keeps the kernel from being sure that a
/// `..` led nowhere else.
const TRIES: u32 = 1000;

/// Opens a path below a root.
///
/// # Errors
/// That of openat2(2).
pub fn open(root: impl AsFd, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        result = openat2(&root, path, flags | OFlags::CLOEXEC, mode, resolve);
        if !matches!(result, Err(Errno::AGAIN)) {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_path_is_found_though_others_rename_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(folder.path().join("one"), "").unwrap();
        std::os::unix::fs::symlink("../../../a/b/../b", root.join("a/link")).unwrap();
        let is_over = AtomicBool::new(false);
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = fs::rename(&one, &two);
                    let _ = fs::rename(&two, &one);
                }
            });
            let at = fs::File::open(&root).unwrap();
            let found: Vec<_> =
                (0..2000).map(|_| open(&at, "/a/link", OFlags::PATH, Mode::empty()).map(drop)).collect();
            is_over.store(true, Ordering::Relaxed);
            assert!(found.iter().all(Result::is_ok), "{:?}", found.iter().find(|one| one.is_err()));
        });
    }
}
