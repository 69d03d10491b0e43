//! Reading LXC configurations: real ones of every generation against what is expected of them, and odd ones against
//! what LXC itself makes of them.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use guestd::{
    daemon::disk::Disk,
    import::{Files, Layer, ReadError, Text, lxc::Reader},
    model::GuestName,
};

/// The fixtures, in the places where a host has them.
struct Host(PathBuf);

impl Host {
    fn at(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/var/lib/lxc") {
            Ok(container) => self.0.join("lxc").join(container),
            Err(_) => self.0.join("lxc-includes").join(path.strip_prefix("/").unwrap()),
        }
    }
}

impl Files for Host {
    fn read(&self, path: &Path) -> Result<Text, ReadError> {
        Disk.read(&self.at(path))
    }

    fn list(&self, folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, ReadError> {
        let files = Disk.list(&self.at(folder), suffix)?;
        Ok(files.iter().map(|file| folder.join(file.file_name().unwrap())).collect())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.at(path).is_dir()
    }
}

/// Everything read of one fixture, as text.
fn rendered(host: &Host, case: &str) -> String {
    let name = GuestName::new(case).unwrap();
    let lxcpath: Arc<Path> = Path::new("/var/lib/lxc").into();
    let mut reader = Reader::new(host, "/");
    let config = reader.read(&lxcpath, &name).unwrap();
    let mut diagnostics = config.diagnostics.clone();
    diagnostics.extend(reader.take_diagnostics());
    let imported = config.imported(name, lxcpath, &Layer::default(), Layer::default(), Vec::new());
    let rows = imported.effective.iter().filter(|row| row.origin.is_some()).map(ToString::to_string);
    let files = imported.files.iter().map(|file| format!("read {}", file.display()));
    let findings = diagnostics.iter().map(ToString::to_string);
    rows.chain(files).chain(findings).collect::<Vec<_>>().join("\n")
}

#[test]
fn configurations_of_every_generation_are_read() {
    let host = Host(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"));
    let mut cases: Vec<_> = fs::read_dir(host.0.join("lxc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    cases.sort();
    assert!(cases.len() >= 10, "{cases:?}");
    for case in cases {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(host.0.join("lxc").join(&case));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("expected", rendered(&host, &case)));
    }
}

/// What LXC says of one key of a configuration; none when it refuses the configuration.
fn lxc_says(lxcpath: &Path, container: &str, key: &str) -> Option<String> {
    let output = Command::new("lxc-info")
        .args(["-n", container, "-c", key, "-P"])
        .arg(lxcpath)
        .env("LC_ALL", "C")
        .output()
        .expect("lxc-info must be installed: apt install lxc");
    let text = String::from_utf8(output.stdout).unwrap();
    let value = text.strip_prefix(key)?.trim_start().strip_prefix('=')?;
    output.status.success().then(|| value.trim().lines().collect::<Vec<_>>().join(" "))
}

/// What guestd says of it; none when it finds an error or an unknown key.
fn guestd_says(lxcpath: &Path, container: &str, key: &str) -> Option<String> {
    let name = GuestName::new(container).unwrap();
    let config = Reader::new(&Disk, "/").read(lxcpath, &name).unwrap();
    if !config.diagnostics.is_empty() {
        return None;
    }
    let guest = config.guest(name, lxcpath.into(), &Layer::default(), Layer::default());
    Some(match key {
        "lxc.start.auto" => u8::from(guest.start.auto.is_candidate(true)).to_string(),
        "lxc.start.order" => guest.start.order.to_string(),
        "lxc.start.delay" => guest.start.delay.as_secs().to_string(),
        "lxc.group" => {
            guest.start.groups.names().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other}"),
    })
}

/// Lines, and the key to ask for. None has a duplicate group, a comma or a group name that guestd does not allow:
/// there guestd differs on purpose.
const ODD: [(&str, &str); 47] = [
    ("lxc.start.delay = 5", "lxc.start.delay"),
    ("lxc.start.delay=5", "lxc.start.delay"),
    (" \t lxc.start.delay \t=\t 5 \t", "lxc.start.delay"),
    ("lxc.start.delay = 0x10", "lxc.start.delay"),
    ("lxc.start.delay = 0X1f", "lxc.start.delay"),
    ("lxc.start.delay = 010", "lxc.start.delay"),
    ("lxc.start.delay = 08", "lxc.start.delay"),
    ("lxc.start.delay = 0x", "lxc.start.delay"),
    ("lxc.start.delay = +7", "lxc.start.delay"),
    ("lxc.start.delay = -1", "lxc.start.delay"),
    ("lxc.start.delay = -0", "lxc.start.delay"),
    ("lxc.start.delay = 5s", "lxc.start.delay"),
    ("lxc.start.delay = 5 # x", "lxc.start.delay"),
    ("lxc.start.delay = 1 2", "lxc.start.delay"),
    ("lxc.start.delay = 2147483647", "lxc.start.delay"),
    ("lxc.start.delay = 4294967296", "lxc.start.delay"),
    ("lxc.start.delay = 99999999999999999999", "lxc.start.delay"),
    ("lxc.start.delay = \"5\"", "lxc.start.delay"),
    ("lxc.start.delay = '5'", "lxc.start.delay"),
    ("lxc.start.delay = ' 5'", "lxc.start.delay"),
    ("lxc.start.delay = '5 '", "lxc.start.delay"),
    ("lxc.start.delay = '5", "lxc.start.delay"),
    ("lxc.start.delay = '5\"", "lxc.start.delay"),
    ("lxc.start.delay = \"\"", "lxc.start.delay"),
    ("lxc.start.delay = 5\nlxc.start.delay =", "lxc.start.delay"),
    ("lxc.start.delay = 5\rlxc.start.delay = 6", "lxc.start.delay"),
    ("lxc.start.delay = 5\r\nfoo bar\r\n", "lxc.start.delay"),
    ("#lxc.start.delay = 5\n  # lxc.start.delay = 6", "lxc.start.delay"),
    ("LXC.start.delay = 5", "lxc.start.delay"),
    ("lxc.start.Delay = 5", "lxc.start.delay"),
    ("lxc.start.delay", "lxc.start.delay"),
    ("lxc.start.order = -5", "lxc.start.order"),
    ("lxc.start.order = - 5", "lxc.start.order"),
    ("lxc.start.order = -0x10", "lxc.start.order"),
    ("lxc.start.order = 2147483647", "lxc.start.order"),
    ("lxc.start.order = 2147483648", "lxc.start.order"),
    ("lxc.start.order = -2147483648", "lxc.start.order"),
    ("lxc.start.order = abc", "lxc.start.order"),
    ("lxc.start.auto = 1", "lxc.start.auto"),
    ("lxc.start.auto = 0x1", "lxc.start.auto"),
    ("lxc.start.auto = 2", "lxc.start.auto"),
    ("lxc.start.auto = true", "lxc.start.auto"),
    ("lxc.group = a b\tc\nlxc.group = \"d e\"", "lxc.group"),
    ("lxc.group = a\nlxc.group =\nlxc.group = b", "lxc.group"),
    ("lxc.group = 'a", "lxc.group"),
    ("lxc.frobnicate = 1", "lxc.start.auto"),
    ("lxc.haltsignal = SIGPWR", "lxc.start.auto"),
];

#[test]
fn odd_lines_mean_what_they_mean_to_lxc() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (lines, key)) in ODD.iter().enumerate() {
        let container = format!("c{number}");
        fs::create_dir(folder.path().join(&container)).unwrap();
        fs::write(folder.path().join(&container).join("config"), format!("{lines}\n")).unwrap();
        let expected = lxc_says(folder.path(), &container, key);
        assert_eq!(guestd_says(folder.path(), &container, key), expected, "{lines:?}");
    }
}
