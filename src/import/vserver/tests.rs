//! Whole folders as plain data: what comes of each file, and what is said of bad ones.

use super::*;
use crate::{
    import::{Text, excerpt},
    model::{Auto, Deed, Resource, Step},
};
use tree::Kind;

mod bounds;
mod files;
mod mistakes;
mod network;
mod order;
mod values;

fn name() -> GuestName {
    GuestName::new("web").unwrap()
}

fn text(content: &str) -> What {
    What::File { text: excerpt::of(content.as_bytes()), executable: false }
}

fn program() -> What {
    What::File { text: Text::default(), executable: true }
}

fn link(path: &str, kind: Kind) -> What {
    What::Elsewhere { path: path.into(), kind }
}

/// A folder of these entries, and of the folders that they lie in.
fn tree(folder: &str, entries: Vec<(&str, What)>) -> Tree {
    let mut tree = Tree::empty(PathBuf::from(folder));
    for (path, what) in entries {
        for (at, _) in path.match_indices('/') {
            tree.nodes.entry(path[..at].to_owned()).or_insert(Node { what: What::Folder, link: None });
        }
        let target = match &what {
            What::Elsewhere { path, .. } => Some(path.clone()),
            _ => None,
        };
        tree.nodes.insert(path.to_owned(), Node { what, link: target });
    }
    tree
}

/// A guest with a root, a context and these entries; `.defaults` has those.
fn read_both(entries: Vec<(&str, What)>, defaults: Vec<(&str, What)>) -> Config {
    let usual = [("vdir", link("/vservers/web", Kind::Folder)), ("context", text("40001\n"))];
    let all = usual.into_iter().chain(entries).collect();
    let (guest, defaults) = (tree("/etc/vservers/web", all), tree("/etc/vservers/.defaults", defaults));
    super::read(&name(), &guest, &defaults, None)
}

fn read(entries: Vec<(&str, What)>) -> Config {
    read_both(entries, Vec::new())
}

/// A guest with these text files.
fn of(files: &[(&'static str, &str)]) -> Config {
    read(files.iter().map(|(path, content)| (*path, text(content))).collect())
}

fn guest(config: &Config) -> Guest {
    config.guest(name(), &Layer::default(), Layer::default()).expect("it is not refused")
}

fn spec(config: &Config) -> NativeSpec {
    match guest(config).engine {
        EngineSpec::Native(spec) => NativeSpec::clone(&spec),
        EngineSpec::Lxc(_) => panic!("not native"),
    }
}

/// What is found, with paths from the guest's folder.
fn said(config: &Config) -> Vec<String> {
    let found = config.diagnostics.iter();
    found.map(|found| found.to_string().replace("/etc/vservers/web/", "")).collect()
}

/// What is found in one file.
fn one(path: &'static str, content: &str) -> Vec<String> {
    said(&of(&[(path, content)]))
}

fn resource(config: &Config, resource: Resource) -> Option<String> {
    guest(config).resources.get(resource).map(|amount| amount.to_string())
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}
