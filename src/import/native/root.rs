//! Where a native guest's file system comes from, and whose users it has.

use std::path::{Path, PathBuf};

use crate::{
    import::{
        Effective, Sourced,
        layer::{or, quoted, row, take},
        probe::Choice,
        toml::{Document, Field},
        value,
    },
    model::{Diagnostic, native::Root},
};

/// The keys.
pub(super) const KEYS: [&str; 5] = ["root", "bundle", "archive", "read-only", "user-namespace"];

/// What `root`, `bundle` and `archive` say, which are one choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `root`.
    Folder(PathBuf),
    /// `root = "volatile-host"`.
    VolatileHost,
    /// `archive`.
    Archive(PathBuf),
    /// `bundle`.
    Bundle(PathBuf),
}

impl Source {
    /// The key that says it.
    fn key(&self) -> &'static str {
        match self {
            Self::Folder(_) | Self::VolatileHost => "root",
            Self::Archive(_) => "archive",
            Self::Bundle(_) => "bundle",
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::VolatileHost => quoted(VOLATILE_HOST),
            Self::Folder(path) | Self::Archive(path) | Self::Bundle(path) => quoted(path.display()),
        }
    }
}

const VOLATILE_HOST: &str = "volatile-host";

/// What one source says of the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootLayer {
    /// `root`, `bundle` or `archive`.
    pub source: Option<Sourced<Source>>,
    /// One of them is written, whether it can be used or not.
    pub is_written: bool,
    /// The folder that a bundle's own file names.
    pub of_bundle: Option<Sourced<PathBuf>>,
    /// `read-only`.
    pub read_only: Option<Sourced<bool>>,
    /// `user-namespace`.
    pub user_namespace: Option<Sourced<bool>>,
}

impl RootLayer {
    /// Reads one of the [`KEYS`].
    pub(super) fn read<'t>(
        &mut self,
        document: &mut Document<'t>,
        field: &Field<'_, 't>,
        choice: &mut Choice<Source>,
    ) {
        let source = match field.key {
            "root" => root(document, field),
            "bundle" => document.text(
                field,
                "the absolute path of a folder with a config.json in it",
                "\"/srv/bundles/web\"",
                |text| value::path(text).filter(|path| is_below(path)).map(Source::Bundle),
            ),
            "archive" => document.text(
                field,
                "the absolute path of a tar archive",
                "\"/srv/images/web.tar.gz\"",
                |text| value::path(text).filter(|path| is_below(path)).map(Source::Archive),
            ),
            "read-only" => return self.read_only = document.boolean(field),
            _ => return self.user_namespace = document.boolean(field),
        };
        self.is_written = true;
        choice.is(document, field, source);
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.source, over.source);
        self.is_written |= over.is_written;
        take(&mut self.of_bundle, over.of_bundle);
        take(&mut self.read_only, over.read_only);
        take(&mut self.user_namespace, over.user_namespace);
    }

    /// The bundle that is to be read.
    pub fn bundle(&self) -> Option<Sourced<&Path>> {
        let source = self.source.as_ref()?;
        let Source::Bundle(path) = &source.value else { return None };
        Some(Sourced::new(path, source.origin.clone()))
    }

    /// The setting; none where nothing usable is said.
    pub(super) fn settled(&self) -> Option<Root> {
        Some(match self.source.as_ref()?.value.clone() {
            Source::Folder(path) => Root::Folder(path),
            Source::VolatileHost => Root::VolatileHost,
            Source::Archive(path) => Root::Archive(path),
            Source::Bundle(_) => Root::Folder(self.of_bundle.as_ref()?.value.clone()),
        })
    }

    /// Whether the guest's users are its own.
    pub(super) fn has_own_users(&self) -> bool {
        let is_host = self.source.as_ref().is_some_and(|source| source.value == Source::VolatileHost);
        !is_host && or(&self.user_namespace, true)
    }

    /// Users of its own, and the host's files, whose owners they are not.
    pub(super) fn contradiction(&self) -> Option<Diagnostic> {
        let source = self.source.as_ref().filter(|source| source.value == Source::VolatileHost)?;
        let wanted = self.user_namespace.as_ref().filter(|wanted| wanted.value)?;
        let message = format!(
            "user-namespace = true contradicts root = \"{VOLATILE_HOST}\" ({}): the host's files belong to the \
             host's users; remove it",
            source.origin
        );
        Some(Diagnostic::error(wanted.origin.clone(), message))
    }

    /// Every value in force.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let source =
            self.source.as_ref().map(|source| row(source.value.key(), source.value.shown(), Some(source)));
        let of_bundle = self
            .of_bundle
            .as_ref()
            .filter(|_| self.bundle().is_some())
            .map(|path| row("root", quoted(path.value.display()), Some(path)));
        let own = [
            row("read-only", or(&self.read_only, false).to_string(), &self.read_only),
            row("user-namespace", self.has_own_users().to_string(), &self.user_namespace),
        ];
        source.into_iter().chain(of_bundle).chain(own).collect()
    }
}

/// Whether this is a folder below the root of the host.
pub(in crate::import) fn is_below(path: &Path) -> bool {
    path.parent().is_some()
}

fn root<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Source>> {
    const WANTED: &str = "the absolute path of a folder, without \"..\", or \"volatile-host\"";
    let source = document.text(field, WANTED, "\"/srv/web\"", |text| match text {
        VOLATILE_HOST => Some(Source::VolatileHost),
        text => value::path(text).map(Source::Folder),
    })?;
    if let Source::Folder(path) = &source.value
        && !is_below(path)
    {
        document.error(field, || {
            format!(
                "root = \"/\" is the host itself; write root = \"{VOLATILE_HOST}\" for its files under a layer that \
                 is thrown away"
            )
        });
        return None;
    }
    Some(source)
}
