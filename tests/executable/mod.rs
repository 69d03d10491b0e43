//! Files that a test makes and then runs. Another process writes them: while this one writes a file itself, a thread that
//! forks at that moment hands the open descriptor to its child, and running the file fails with "Text file busy".
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Copies a program to a place; every user may run the copy.
#[track_caller]
pub fn copy(program: impl AsRef<Path>, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).arg(program.as_ref()).arg(to).status();
    assert!(status.expect("install, of coreutils").success(), "{} is not copied", program.as_ref().display());
}

/// Makes a shell script of these lines, which every user may run.
#[track_caller]
pub fn script(path: &Path, text: &str) -> PathBuf {
    let source = path.with_extension("source");
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).expect("a script's text");
    copy(&source, path);
    fs::remove_file(&source).expect("the text is removed");
    path.to_owned()
}
