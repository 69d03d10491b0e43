//! Who depends on whom: `guestctl deps`, as `systemctl list-dependencies` shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{NOT_READY, Style, colour_of, cut, plain};

/// A guest, and on whom it depends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// What it is doing, in a word.
    pub phase: String,
    /// It fails without these.
    pub requires: Vec<String>,
    /// These are started with it.
    pub wants: Vec<String>,
    /// It waits for these, if they are to run.
    pub after: Vec<String>,
}

/// How one guest depends on another, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Requires,
    Wants,
    After,
}

impl Relation {
    const ALL: [Self; 3] = [Self::Requires, Self::Wants, Self::After];

    fn words(self, reverse: bool) -> &'static str {
        match (self, reverse) {
            (Self::Requires, false) => "requires",
            (Self::Wants, false) => "wants",
            (Self::After, false) => "after",
            (Self::Requires, true) => "required by",
            (Self::Wants, true) => "wanted by",
            (Self::After, true) => "before",
        }
    }

    fn key(self, reverse: bool) -> &'static str {
        match (self, reverse) {
            (Self::Requires, true) => "required_by",
            (Self::Wants, true) => "wanted_by",
            _ => self.words(reverse),
        }
    }
}

/// All guests, each with those that it leads to: on whom it depends, or the other way round.
#[derive(Debug)]
pub struct Dependencies<'a> {
    nodes: &'a BTreeMap<String, Node>,
    edges: BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<Relation>>>,
    reverse: bool,
}

impl<'a> Dependencies<'a> {
    /// Those of these guests; `reverse` leads from each guest to those that depend on it.
    pub fn new(nodes: &'a BTreeMap<String, Node>, reverse: bool) -> Self {
        let mut edges: BTreeMap<&str, BTreeMap<&str, BTreeSet<Relation>>> = BTreeMap::new();
        for (name, node) in nodes {
            let of = |relation| match relation {
                Relation::Requires => &node.requires,
                Relation::Wants => &node.wants,
                Relation::After => &node.after,
            };
            let others = Relation::ALL
                .into_iter()
                .flat_map(|relation| of(relation).iter().map(move |other| (relation, other)));
            for (relation, other) in others {
                let (from, to) = if reverse { (other, name) } else { (name, other) };
                edges.entry(from).or_default().entry(to).or_default().insert(relation);
            }
        }
        // Whoever requires a guest comes after it anyway.
        for relations in edges.values_mut().flat_map(BTreeMap::values_mut) {
            if relations.contains(&Relation::Requires) {
                relations.remove(&Relation::After);
            }
        }
        Self { nodes, edges, reverse }
    }

    /// The trees below these guests; without any, of all that depend on somebody (reversed: on whom somebody depends).
    pub fn trees(&self, style: Style, names: &[String]) -> String {
        let mut trees = Trees { dependencies: self, style, shown: BTreeSet::new(), out: String::new() };
        match names {
            [] => trees.all(),
            names => names.iter().for_each(|name| trees.root(name)),
        }
        match trees.out {
            empty if empty.is_empty() => "no guest depends on another\n".to_owned(),
            out => out,
        }
    }

    /// The same for programs: each guest of the trees once.
    pub fn json<'b>(&'b self, names: &'b [String]) -> Vec<NodeJson<'b>> {
        let mut open: Vec<&str> = match names {
            [] => self.edges.keys().rev().copied().collect(),
            names => names.iter().rev().map(String::as_str).collect(),
        };
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            let below = self.below(name);
            open.extend(below.iter().rev().map(|(other, _)| *other));
            let with = |relation| {
                let others = below.iter().filter(move |(_, relations)| relations.contains(&relation));
                (relation.key(self.reverse), others.map(|(other, _)| *other).collect())
            };
            let phase = self.nodes.get(name).map(|node| &*node.phase);
            found.push(NodeJson { name, phase, others: Relation::ALL.map(with).into() });
        }
        found
    }

    /// Where a guest leads to: what binds strongest first, then by name.
    fn below(&self, name: &str) -> Vec<(&'a str, &BTreeSet<Relation>)> {
        let edges = self.edges.get(name).into_iter().flatten();
        let mut below: Vec<_> = edges.map(|(other, relations)| (*other, relations)).collect();
        below.sort_by_key(|(other, relations)| (relations.first(), *other));
        below
    }
}

/// A guest with those that it leads to, as JSON.
#[derive(Debug, Serialize)]
pub struct NodeJson<'a> {
    name: &'a str,
    /// None where no such guest is defined.
    phase: Option<&'a str>,
    #[serde(flatten)]
    others: BTreeMap<&'static str, Vec<&'a str>>,
}

/// The trees on their way to text.
struct Trees<'a> {
    dependencies: &'a Dependencies<'a>,
    style: Style,
    /// Whose subtrees stand above.
    shown: BTreeSet<&'a str>,
    out: String,
}

impl<'a> Trees<'a> {
    fn all(&mut self) {
        let edges = &self.dependencies.edges;
        let inner: BTreeSet<&str> = edges.values().flat_map(|below| below.keys().copied()).collect();
        let roots = edges.keys().copied().filter(|name| !inner.contains(name));
        roots.for_each(|name| self.root(name));
        // What only leads round in a circle has no beginning.
        for name in edges.keys().copied() {
            if !self.shown.contains(name) {
                self.root(name);
            }
        }
    }

    fn root(&mut self, name: &'a str) {
        self.line(name, "");
        self.below(name, "");
    }

    /// What a guest leads to, unless it stands above.
    fn below(&mut self, name: &'a str, indent: &str) {
        if !self.shown.insert(name) {
            return;
        }
        let [branch, last, bar] =
            if self.style.ascii { ["|-", "`-", "| "] } else { ["├─", "└─", "│ "] };
        let below = self.dependencies.below(name);
        for (at, (other, relations)) in below.iter().enumerate() {
            let is_last = at + 1 == below.len();
            let words = relations.iter().map(|relation| relation.words(self.dependencies.reverse));
            let words = words.collect::<Vec<_>>().join(", ");
            self.line(other, &format!("{indent}{}{words} ", if is_last { last } else { branch }));
            self.below(other, &format!("{indent}{}", if is_last { "  " } else { bar }));
        }
    }

    fn line(&mut self, name: &'a str, before: &str) {
        let phase = self.dependencies.nodes.get(name).map(|node| &*node.phase);
        let mut text = format!("{before}{}", plain(name));
        match phase {
            None => text.push_str(" (not defined)"),
            Some("up" | "down") => {}
            Some(other) => text.push_str(&format!(" ({})", plain(other))),
        }
        if self.shown.contains(name) && self.dependencies.edges.contains_key(name) {
            text.push_str(" (see above)");
        }
        if let Some(width) = self.style.width {
            cut(&mut text, usize::from(width).saturating_sub(2).max(CUT_LEAST), self.style.cut_mark());
        }
        let mark = self.style.paint(phase.and_then(colour_of), mark(self.style, phase));
        self.out.push_str(&format!("{mark} {text}\n"));
    }
}

/// The least width that a line is cut to.
const CUT_LEAST: usize = 20;

/// A sign for a phase, which tells it where there are no colours.
fn mark(style: Style, phase: Option<&str>) -> &'static str {
    match (phase, style.ascii) {
        (Some("up"), false) => "●",
        (Some("up"), true) => "*",
        (Some("down"), false) => "○",
        (Some("down"), true) => "o",
        (Some("failed"), false) => "×",
        (Some("failed"), true) => "x",
        (None, _) => "?",
        (Some(_), false) => "◌",
        (Some(_), true) => "~",
    }
}

/// The phase that stands for a guest.
pub fn phase(phase: &str, ready: bool) -> &str {
    if phase == "up" && !ready { NOT_READY } else { phase }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name phase requires=a,b wants=… after=…`, one a line.
    fn nodes(text: &str) -> BTreeMap<String, Node> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let mut words = line.split(' ');
                let name = words.next().unwrap().to_owned();
                let mut node = Node { phase: words.next().unwrap().to_owned(), ..Node::default() };
                for (key, list) in words.map(|word| word.split_once('=').unwrap()) {
                    let list = list.split(',').map(str::to_owned).collect();
                    match key {
                        "requires" => node.requires = list,
                        "wants" => node.wants = list,
                        _ => node.after = list,
                    }
                }
                (name, node)
            })
            .collect()
    }

    fn host() -> BTreeMap<String, Node> {
        nodes(
            "web up requires=db,gone wants=cache after=cache,db,mail
             db up wants=disk
             cache starting requires=db
             mail failed after=db
             disk down
             lonely up",
        )
    }

    fn trees(nodes: &BTreeMap<String, Node>, reverse: bool, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Dependencies::new(nodes, reverse).trees(Style::default(), &names)
    }

    #[test]
    fn each_kind_of_dependency_and_each_phase_is_told_apart() {
        let tree = "\
● web
● ├─requires db
○ │ └─wants disk
? ├─requires gone (not defined)
◌ ├─wants, after cache (starting)
● │ └─requires db (see above)
× └─after mail (failed)
●   └─after db (see above)
";
        assert_eq!(trees(&host(), false, &["web"]), tree);
        assert_eq!(trees(&host(), false, &[]), tree, "it is the only one on which nobody depends");
        assert_eq!(trees(&host(), false, &["lonely", "disk"]), "● lonely\n○ disk\n");
    }

    #[test]
    fn reversed_it_shows_who_depends_on_a_guest() {
        let tree = "\
○ disk
● └─wanted by db
◌   ├─required by cache (starting)
●   │ └─wanted by, before web
●   ├─required by web
×   └─before mail (failed)
●     └─before web
";
        assert_eq!(trees(&host(), true, &["disk"]), tree);
        let all = trees(&host(), true, &[]);
        assert_eq!(all, format!("{tree}? gone (not defined)\n● └─required by web\n"));
    }

    #[test]
    fn circles_end_and_wide_meshes_stay_small() {
        let circle = nodes("a up requires=b\nb up requires=a\n");
        assert_eq!(trees(&circle, false, &[]), "● a\n● └─requires b\n●   └─requires a (see above)\n");
        let mesh: String = (0..40)
            .map(|n| {
                format!(
                    "g{n:02} up requires=g{:02},h{:02}\nh{n:02} up requires=g{:02}\n",
                    n + 1,
                    n + 1,
                    n + 1
                )
            })
            .collect();
        assert!(trees(&nodes(&mesh), false, &["g00"]).lines().count() < 200);
        assert_eq!(trees(&nodes("a up\nb up\n"), false, &[]), "no guest depends on another\n");
    }

    #[test]
    fn old_locales_and_narrow_terminals_are_served() {
        let host = host();
        let narrow = Style { width: Some(24), ascii: true, colour: true, ..Style::default() };
        let shown = Dependencies::new(&host, false).trees(narrow, &["web".to_owned()]);
        assert!(shown.is_ascii(), "{shown:?}");
        let line = "\u{1b}[1m\u{1b}[33m~\u{1b}[0m |-wants, after cach...\n";
        assert!(shown.contains(line), "{shown:?}");
    }

    #[test]
    fn programs_get_each_guest_once() {
        let host = host();
        let json = |reverse, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            serde_json::to_value(Dependencies::new(&host, reverse).json(&names)).unwrap()
        };
        let cache = serde_json::json!([
            {"name": "cache", "phase": "starting", "requires": ["db"], "wants": [], "after": []},
            {"name": "db", "phase": "up", "requires": [], "wants": ["disk"], "after": []},
            {"name": "disk", "phase": "down", "requires": [], "wants": [], "after": []},
        ]);
        assert_eq!(json(false, &["cache"]), cache);
        let gone = serde_json::json!([
            {"name": "gone", "phase": null, "required_by": ["web"], "wanted_by": [], "before": []},
            {"name": "web", "phase": "up", "required_by": [], "wanted_by": [], "before": []},
        ]);
        assert_eq!(json(true, &["gone"]), gone);
        assert_eq!(json(false, &[]).as_array().unwrap().len(), 6, "all but the lonely one");
    }
}
