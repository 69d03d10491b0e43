//! Follows `lxc.include`: every included file is read once in a reader's life, and walked in place wherever it is named.
//!
//! LXC has no guard against loops and no bound; here a loop is named and cut, and depth and number are bounded.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    import::{Files, LIST_MAX, ReadError, Text, findings::Findings, fingerprint::Fingerprint},
    model::{Diagnostic, GuestName, Origin, name::shown_path},
};

use super::{
    Config,
    statement::{self, Place, Statement},
};

/// How deep includes may go.
const DEPTH_MAX: usize = 32;
/// How many files and folders may be looked at for one container, each counted as often as it is included.
const FILES_MAX: u32 = 1024;

/// One file, read.
#[derive(Debug)]
struct File {
    path: Arc<Path>,
    digest: u64,
    statements: Vec<(u32, Statement)>,
}

/// What an `lxc.include` names.
#[derive(Debug, Clone)]
enum Target {
    File(Arc<File>),
    Folder(Arc<[PathBuf]>),
    /// It cannot be read.
    Nothing(ReadError),
}

/// Reads containers' configurations, and remembers the files that they share.
pub struct Reader<'f> {
    files: &'f dyn Files,
    /// What a relative `lxc.include` is relative to.
    base: PathBuf,
    /// By the path as it is written: to LXC a slash at its end makes a folder of it, to a `PathBuf` it does not matter.
    known: HashMap<OsString, Target>,
    diagnostics: Vec<Diagnostic>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("base", &self.base)
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}

impl<'f> Reader<'f> {
    /// A reader over these files. LXC resolves a relative `lxc.include` against its working directory; here that is
    /// `base`.
    pub fn new(files: &'f dyn Files, base: impl Into<PathBuf>) -> Self {
        Self { files, base: base.into(), known: HashMap::new(), diagnostics: Vec::new() }
    }

    /// Reads the configuration of one container.
    ///
    /// # Errors
    /// [`ReadError`] when its `config` itself cannot be read.
    pub fn read(&mut self, lxcpath: &Path, name: &GuestName) -> Result<Config, ReadError> {
        let path: Arc<Path> = lxcpath.join(name.as_str()).join("config").into();
        let text = self.files.read(&path)?;
        let mut findings = Findings::new(Arc::clone(&path));
        let file = parse(path, &text, Place::Own, &mut findings);
        let mut walk =
            Walk { reader: self, config: Config::default(), own: findings, stack: Vec::new(), count: 0 };
        let mut fingerprint = Fingerprint::new();
        walk.file(&file, &mut fingerprint);
        let Walk { mut config, own, .. } = walk;
        config.fingerprint = fingerprint.finish();
        config.diagnostics = own.finish().into_iter().map(|diagnostic| diagnostic.about(name)).collect();
        Ok(config)
    }

    /// What was found wrong with these files, as far as they are included ones.
    pub fn about<'d>(&'d self, files: &'d [PathBuf]) -> impl Iterator<Item = &'d Diagnostic> {
        self.diagnostics.iter().filter(|found| files.iter().any(|file| **file == *found.origin.file))
    }

    /// What was found wrong with included files since the last call.
    pub fn take_diagnostics(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.diagnostics)
    }

    /// What a path names; read on the first call.
    fn target(&mut self, path: &Path, may_be_folder: bool) -> Target {
        if let Some(target) = self.known.get(path.as_os_str()) {
            return target.clone();
        }
        let target = if may_be_folder && (ends_in_slash(path) || self.files.is_folder(path)) {
            match self.files.list(path, ".conf") {
                Ok(list) => Target::Folder(list.into()),
                // LXC takes a folder that does not exist as an empty one.
                Err(ReadError::Missing) => Target::Folder(Arc::new([])),
                Err(error) => Target::Nothing(error),
            }
        } else {
            match self.files.read(path) {
                Ok(text) => {
                    let mut findings = Findings::new(path.into());
                    let file = parse(Arc::clone(findings.file()), &text, Place::Included, &mut findings);
                    self.diagnostics.extend(findings.finish());
                    Target::File(Arc::new(file))
                }
                Err(error) => Target::Nothing(error),
            }
        };
        self.known.insert(path.into(), target.clone());
        target
    }
}

fn parse(path: Arc<Path>, text: &Text, place: Place, findings: &mut Findings) -> File {
    let statements = statement::read(text, place, findings);
    File { path, digest: Fingerprint::of(&text.bytes), statements }
}

fn ends_in_slash(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last() == Some(&b'/')
}

/// One container's way through its files.
struct Walk<'w, 'f> {
    reader: &'w mut Reader<'f>,
    config: Config,
    /// Findings about the container's own file.
    own: Findings,
    /// The files being read, outermost first.
    stack: Vec<Arc<Path>>,
    count: u32,
}

impl Walk<'_, '_> {
    fn file(&mut self, file: &File, fingerprint: &mut Fingerprint) {
        fingerprint.write(file.path.as_os_str().as_encoded_bytes());
        fingerprint.write(&[0]);
        fingerprint.write(&file.digest.to_le_bytes());
        if !self.config.files.iter().any(|known| **known == *file.path) {
            self.config.files.push(file.path.to_path_buf());
        }
        self.stack.push(Arc::clone(&file.path));
        for (line, statement) in &file.statements {
            match statement {
                Statement::Include(value) => self.include(&file.path, *line, value, fingerprint),
                other => {
                    let origin = Origin { file: Arc::clone(&file.path), line: Some(*line) };
                    if !self.config.apply(other, origin.clone()) {
                        let message =
                            format!("lxc.group makes more than {LIST_MAX} groups; the rest is ignored");
                        self.report(Diagnostic::error(origin, message));
                    }
                }
            }
        }
        self.stack.pop();
    }

    fn include(&mut self, from: &Arc<Path>, line: u32, value: &str, fingerprint: &mut Fingerprint) {
        if !self.admit(from, line) {
            return;
        }
        if !value.starts_with('/') {
            let message = format!(
                "lxc.include of the relative path \"{}\": LXC looks for it in whatever folder it is started in; \
                 write the whole path",
                shown_path(Path::new(value))
            );
            self.report(Diagnostic::warning(Origin { file: Arc::clone(from), line: Some(line) }, message));
        }
        let path = self.reader.base.join(value);
        match self.reader.target(&path, true) {
            Target::File(file) => self.enter(from, line, &file, fingerprint),
            Target::Folder(paths) => {
                for path in paths.iter() {
                    if !self.admit(from, line) {
                        return;
                    }
                    match self.reader.target(path, false) {
                        Target::File(file) => self.enter(from, line, &file, fingerprint),
                        Target::Folder(_) => {}
                        Target::Nothing(error) => self.unreadable(from, line, path, error),
                    }
                }
            }
            Target::Nothing(error) => self.unreadable(from, line, &path, error),
        }
    }

    /// Walks an included file, unless that would go on for ever.
    fn enter(&mut self, from: &Arc<Path>, line: u32, file: &File, fingerprint: &mut Fingerprint) {
        let origin = || Origin { file: Arc::clone(from), line: Some(line) };
        if let Some(at) = self.stack.iter().position(|path| *path == file.path) {
            let mut names: Vec<_> = self.stack[at..].iter().map(|path| shown_path(path)).collect();
            names.push(shown_path(&file.path));
            let message = format!(
                "lxc.include goes round in a circle: {}; LXC never gets out of it; remove one of these includes",
                names.join(" includes ")
            );
            self.report(Diagnostic::error(origin(), message));
        } else if self.stack.len() >= DEPTH_MAX {
            let message = format!("lxc.include goes deeper than {DEPTH_MAX} files; the rest is not read");
            self.report(Diagnostic::error(origin(), message));
        } else {
            self.file(file, fingerprint);
        }
    }

    /// Whether one more file may be looked at; says once when not.
    fn admit(&mut self, from: &Arc<Path>, line: u32) -> bool {
        self.count = self.count.saturating_add(1);
        if self.count == FILES_MAX + 1 {
            let message = format!("more than {FILES_MAX} files are included; the rest is not read");
            self.report(Diagnostic::error(Origin { file: Arc::clone(from), line: Some(line) }, message));
        }
        self.count <= FILES_MAX
    }

    fn unreadable(&mut self, from: &Arc<Path>, line: u32, path: &Path, error: ReadError) {
        let consequence = match error {
            ReadError::NotRegular | ReadError::TooMany { .. } => "and is left out",
            _ => "for which LXC refuses the whole container",
        };
        let message =
            format!("lxc.include: {} {error}, {consequence}; mend that or remove the line", shown_path(path));
        self.report(Diagnostic::error(Origin { file: Arc::clone(from), line: Some(line) }, message));
    }

    /// Keeps a diagnostic with the file that it is about.
    fn report(&mut self, diagnostic: Diagnostic) {
        if diagnostic.origin.file == *self.own.file() {
            let Diagnostic { severity, origin, message, .. } = diagnostic;
            self.own.push(severity, origin.line, || message);
        } else if !self.reader.diagnostics.contains(&diagnostic) {
            self.reader.diagnostics.push(diagnostic);
        }
    }
}
