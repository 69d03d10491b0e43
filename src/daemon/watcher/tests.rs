//! What is noticed, and what is not.

use std::fs;

use super::*;

fn watched(paths: &[PathBuf]) -> Watcher {
    let paths: Vec<Arc<Path>> = paths.iter().map(|path| Arc::from(path.as_path())).collect();
    Watcher::new(&paths).unwrap()
}

fn container(path: &Path, name: &str) -> Change {
    Change::Container(path.into(), GuestName::new(name).unwrap())
}

#[tokio::test]
async fn containers_come_change_move_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::create_dir(at.join("old")).unwrap();
    let mut watcher = watched(&[at.to_owned()]);
    assert_eq!(watcher.changes(), [].into());
    fs::create_dir(at.join("new")).unwrap();
    assert_eq!(watcher.changes(), [container(at, "new")].into());
    fs::write(at.join("new/config"), "").unwrap();
    assert_eq!(watcher.changes(), [container(at, "new")].into(), "its folder is watched from the start");
    fs::rename(at.join("new"), at.join("newer")).unwrap();
    assert_eq!(watcher.changes(), [container(at, "new"), container(at, "newer")].into());
    fs::write(at.join("newer/config"), "x").unwrap();
    assert_eq!(watcher.changes(), [container(at, "newer")].into(), "under its new name");
    fs::write(at.join("old/guestd.toml"), "").unwrap();
    fs::write(at.join("old/notes"), "").unwrap();
    assert_eq!(watcher.changes(), [container(at, "old")].into());
    fs::remove_dir_all(at.join("old")).unwrap();
    assert_eq!(watcher.changes(), [container(at, "old")].into());
}

#[tokio::test]
async fn a_config_is_replaced_by_rename_or_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    fs::create_dir(at.join("web")).unwrap();
    fs::write(at.join("web/config"), "1").unwrap();
    let mut watcher = watched(&[at.to_owned()]);
    fs::write(at.join("web/.config.swp"), "2").unwrap();
    assert_eq!(watcher.changes(), [].into());
    fs::rename(at.join("web/.config.swp"), at.join("web/config")).unwrap();
    assert_eq!(watcher.changes(), [container(at, "web")].into());
    let half = fs::File::create(at.join("web/config")).unwrap();
    assert_eq!(watcher.changes(), [].into(), "a config that is being written is not read");
    drop(half);
    assert_eq!(watcher.changes(), [container(at, "web")].into());
}

#[tokio::test]
async fn a_config_may_come_as_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for name in ["soft", "hard"] {
        fs::create_dir(at.join(name)).unwrap();
    }
    let shared = tempfile::NamedTempFile::new_in(at).unwrap();
    let mut watcher = watched(&[at.to_owned()]);
    std::os::unix::fs::symlink(shared.path(), at.join("soft/config")).unwrap();
    fs::hard_link(shared.path(), at.join("hard/config")).unwrap();
    assert_eq!(watcher.changes(), [container(at, "hard"), container(at, "soft")].into());
    fs::hard_link(shared.path(), at.join("hard/notes")).unwrap();
    assert_eq!(watcher.changes(), [].into());
}

#[tokio::test]
async fn an_lxcpath_that_is_made_anew_while_the_old_one_is_in_use_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lxc");
    fs::create_dir(&path).unwrap();
    let mut watcher = watched(std::slice::from_ref(&path));
    // As a mount, or a process's working folder, does it: the kernel does not tell the folder's own end.
    let _in_use = fs::File::open(&path).unwrap();
    fs::remove_dir(&path).unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into());
    fs::create_dir(&path).unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into());
    fs::create_dir(dir.path().join("other")).unwrap();
    assert_eq!(watcher.changes(), [].into());
}

#[tokio::test]
async fn files_of_lxc_itself_are_no_containers() {
    let dir = tempfile::tempdir().unwrap();
    let mut watcher = watched(&[dir.path().to_owned()]);
    fs::write(dir.path().join(".lock"), "").unwrap();
    assert_eq!(watcher.changes(), [].into());
    fs::write(dir.path().join("no guest"), "").unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into(), "what is wrong with its name is told");
}

#[tokio::test]
async fn lxcpaths_that_come_late_or_go_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("lxc");
    let deep = first.join("more/containers");
    fs::create_dir(dir.path().join("other")).unwrap();
    let mut watcher = watched(&[first.clone(), deep.clone()]);
    fs::create_dir(dir.path().join("unrelated")).unwrap();
    assert_eq!(watcher.changes(), [].into());
    fs::create_dir(&first).unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into());
    let mut watcher = watched(&[first.clone(), deep.clone()]);
    fs::create_dir(first.join("web")).unwrap();
    assert_eq!(watcher.changes(), [container(&first, "web")].into());
    fs::create_dir(first.join("more")).unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into(), "one lxcpath lies in the other");
    let mut watcher = watched(&[first.clone(), deep]);
    fs::rename(&first, dir.path().join("away")).unwrap();
    assert_eq!(watcher.changes(), [Change::Everything].into());
}

#[tokio::test]
async fn an_lxcpath_that_comes_between_two_looks_is_watched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("more/lxc");
    let mut watcher = watched(&[]);
    // It was not there a moment ago, when it should have been watched.
    watcher.paths = vec![path.as_path().into()];
    fs::create_dir_all(&path).unwrap();
    watcher.watch_above();
    fs::create_dir(path.join("web")).unwrap();
    assert_eq!(watcher.changes(), [container(&path, "web")].into());
}
