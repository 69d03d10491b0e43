//! util-vserver's folders on the disk, as the helper uses them.
//!
//! They are the host's, but a link in them may lead anywhere: text is read only beneath the folder of all guests, and a program
//! is run only where nobody but root can have put it, and never out of a guest's own root.

use std::{
    cell::Cell,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::{
    course::{Files, Whose},
    known::Known,
    log::Log,
};

/// Where util-vserver keeps its configuration.
pub const VSERVERS: &str = "/etc/vservers";
/// The most that is read of a file with one line, in bytes.
const LINE_MAX: u64 = 4096;

/// The folders of one call.
pub struct Folders<'l> {
    /// That of all guests, without symbolic links.
    vservers: PathBuf,
    /// The guest's, if it is known.
    guest: Option<PathBuf>,
    /// The guest's root, without symbolic links: what is in it is the guest's word.
    root: Option<PathBuf>,
    log: &'l Log,
    /// Every file that is looked at is told.
    traces: Cell<bool>,
}

impl<'l> Folders<'l> {
    /// Those of a guest, below `vservers` or wherever the guest is.
    pub fn new(vservers: Option<&Path>, known: Option<&Known>, log: &'l Log) -> Self {
        let folder = known.map(|known| known.folder.as_path());
        let vservers =
            vservers.or_else(|| folder.and_then(Path::parent)).unwrap_or(Path::new(VSERVERS)).to_owned();
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Self {
            vservers: real(&vservers),
            guest: folder.map(Path::to_path_buf),
            root: known.and_then(|known| known.root.as_deref()).map(real),
            log,
            traces: Cell::new(false),
        }
    }

    /// Tells from now on what is looked at, where a file says that this is wanted.
    pub fn trace_if_wanted(&self) {
        let wanted = |whose| self.is_there(whose, "apps/vshelper/debug");
        self.traces.set(wanted(Whose::Defaults) || wanted(Whose::Guest));
    }

    /// Opens the file that is to take what is said, if it is there.
    pub fn logfile(&self) -> Option<File> {
        let path = self.real(Whose::Defaults, "apps/vshelper/logfile")?;
        if self.is_guests(&path) {
            self.log.say(&format!("{} lies in a guest; it is no log", path.display()));
            return None;
        }
        let mut options = OpenOptions::new();
        options.append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let opened = options.open(&path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        match opened {
            Ok((true, file)) => Some(file),
            // As is written to switch a log off: /dev/null.
            Ok((false, _)) => None,
            Err(error) => {
                self.log.say(&format!("cannot write to {}: {error}", path.display()));
                None
            }
        }
    }

    fn folder(&self, whose: Whose) -> Option<PathBuf> {
        match whose {
            Whose::Guest => self.guest.clone(),
            Whose::Defaults => Some(self.vservers.join(".defaults")),
        }
    }

    /// The file itself, behind all links.
    fn real(&self, whose: Whose, path: &str) -> Option<PathBuf> {
        let given = self.folder(whose)?.join(path);
        let found = fs::canonicalize(&given);
        self.trace(&given, if found.is_ok() { "is there" } else { "is not there" });
        match found {
            Ok(real) => Some(real),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                None
            }
            Err(error) => {
                self.log.say(&format!("cannot look at {}: {error}", given.display()));
                None
            }
        }
    }

    fn trace(&self, path: &Path, what: &str) {
        if self.traces.get() {
            self.log.say(&format!("{} {what}", path.display()));
        }
    }

    fn is_guests(&self, real: &Path) -> bool {
        self.root.as_ref().is_some_and(|root| root != Path::new("/") && real.starts_with(root))
    }

    /// Why a program is not run.
    fn objection(&self, real: &Path) -> Option<String> {
        if self.is_guests(real) {
            return Some("it lies in the guest".into());
        }
        real.ancestors().find_map(|part| match fs::symlink_metadata(part) {
            Ok(found) => objection(&found).map(|why| format!("{} {why}", part.display())),
            Err(error) => Some(format!("{}: {error}", part.display())),
        })
    }

    fn line(&self, real: &Path) -> io::Result<Option<String>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = options.open(real)?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut line = Vec::new();
        BufReader::new(file.take(LINE_MAX)).read_until(b'\n', &mut line)?;
        let line = String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"))?;
        Ok(Some(line.trim().to_owned()).filter(|line| !line.is_empty()))
    }
}

/// Why somebody else than root may have a say over a file or folder.
fn objection(found: &Metadata) -> Option<&'static str> {
    let is_sticky = found.is_dir() && found.mode() & libc::S_ISVTX != 0;
    match () {
        () if found.uid() != 0 => Some("is not root's"),
        () if found.mode() & 0o022 != 0 && !is_sticky => Some("can be written to by others than root"),
        () => None,
    }
}

impl Files for Folders<'_> {
    fn is_there(&self, whose: Whose, path: &str) -> bool {
        self.real(whose, path).is_some()
    }

    fn program(&self, whose: Whose, path: &str) -> Option<PathBuf> {
        let real = self.real(whose, path)?;
        let is_program = fs::metadata(&real).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0);
        if !is_program {
            self.trace(&real, "is no program");
            return None;
        }
        match self.objection(&real) {
            None => Some(real),
            Some(why) => {
                self.log.say(&format!("{} is not run: {why}", real.display()));
                None
            }
        }
    }

    fn first_line(&self, whose: Whose, path: &str) -> Option<String> {
        let real = self.real(whose, path)?;
        if !real.starts_with(&self.vservers) || self.is_guests(&real) {
            if real != Path::new("/dev/null") {
                let (shown, vservers) = (real.display(), self.vservers.display());
                self.log.say(&format!("{shown} is not read: it lies outside of {vservers}"));
            }
            return None;
        }
        self.line(&real).unwrap_or_else(|error| {
            self.log.say(&format!("cannot read {}: {error}", real.display()));
            None
        })
    }
}
