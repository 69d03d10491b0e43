//! A made-up container and its configuration file.

use std::{fmt::Write, fs, path::Path};

use proptest::prelude::*;

/// What a container's configuration says, and how it says it.
#[derive(Debug, Clone, Default)]
pub struct Container {
    pub name: String,
    pub auto: bool,
    pub order: i32,
    pub delay: u32,
    pub groups: Vec<String>,
    /// A process answers in the name of its monitor that it runs.
    pub up: bool,
    pub style: Style,
}

/// Ways of writing that mean the same to LXC.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// The settings are in another file, which is included.
    pub included: bool,
    /// Values stand in quotes.
    pub quoted: bool,
    /// Blanks and tabs around keys and values.
    pub spaced: bool,
    /// Base 10, 8 or 16.
    pub base: Base,
    /// Each group has a line of its own.
    pub group_lines: bool,
    /// Groups stand in one value with commas, which LXC takes for one name.
    pub commas: bool,
    /// Other values come first and are replaced.
    pub overruled: bool,
    /// Zeros and empty lists are written, too.
    pub explicit: bool,
}

/// How numbers are written.
#[derive(Debug, Clone, Copy, Default)]
pub enum Base {
    #[default]
    Decimal,
    Octal,
    Hexadecimal,
}

impl Base {
    fn show(self, number: i64) -> String {
        let (sign, magnitude) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
        match self {
            Self::Decimal => format!("{sign}{magnitude}"),
            Self::Octal => format!("{sign}0{magnitude:o}"),
            Self::Hexadecimal => format!("{sign}0x{magnitude:x}"),
        }
    }
}

impl Container {
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), auto: true, ..Self::default() }
    }

    pub fn order(self, order: i32) -> Self {
        Self { order, ..self }
    }

    pub fn delay(self, delay: u32) -> Self {
        Self { delay, ..self }
    }

    pub fn groups(self, groups: &[&str]) -> Self {
        Self { groups: groups.iter().map(|&group| group.into()).collect(), ..self }
    }

    pub fn up(self) -> Self {
        Self { up: true, ..self }
    }

    /// Writes its configuration under an lxcpath.
    pub fn write(&self, lxcpath: &Path) {
        let folder = lxcpath.join(&self.name);
        fs::create_dir(&folder).unwrap();
        let settings = self.settings();
        let config = if self.style.included {
            let included = folder.join("included.conf");
            fs::write(&included, settings).unwrap();
            format!("# {}\nlxc.include = {}\n", self.name, included.display())
        } else {
            settings
        };
        fs::write(folder.join("config"), config).unwrap();
    }

    fn settings(&self) -> String {
        let style = self.style;
        let mut text = String::from("lxc.uts.name = guest\n");
        if style.overruled {
            text += "lxc.start.auto = 1\nlxc.start.order = 77\nlxc.start.delay = 78\nlxc.group = never\n";
            text += "lxc.group =\n";
        }
        let keep_zeros = style.explicit || style.overruled;
        let numbers = [
            ("lxc.start.auto", i64::from(self.auto)),
            ("lxc.start.order", self.order.into()),
            ("lxc.start.delay", self.delay.into()),
        ];
        for (key, number) in numbers {
            if number != 0 || keep_zeros {
                self.line(&mut text, key, &style.base.show(number));
            }
        }
        let separator = if style.commas { "," } else { " \t" };
        if style.group_lines {
            self.groups.iter().for_each(|group| self.line(&mut text, "lxc.group", group));
        } else if !self.groups.is_empty() || style.explicit {
            self.line(&mut text, "lxc.group", &self.groups.join(separator));
        }
        text
    }

    fn line(&self, text: &mut String, key: &str, value: &str) {
        let quote = if self.style.quoted && !value.is_empty() { "\"" } else { "" };
        let space = if self.style.spaced { " \t " } else { "" };
        writeln!(text, "{space}{key}{space}={space}{quote}{value}{quote}{space}").unwrap();
    }
}

fn style() -> impl Strategy<Value = Style> {
    let base = prop_oneof![Just(Base::Decimal), Just(Base::Octal), Just(Base::Hexadecimal)];
    (any::<[bool; 6]>(), base).prop_map(
        |([included, quoted, spaced, group_lines, overruled, explicit], base)| Style {
            included,
            quoted,
            spaced,
            base,
            group_lines,
            commas: false,
            overruled,
            explicit,
        },
    )
}

/// Names of groups, none a prefix of another one: LXC takes a group for another one that it is a prefix of.
pub fn group() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["onboot", "web", "db", "ubuntu", "x.1-_"]).prop_map(Into::into)
}

/// Containers of different names. The numbers stay where LXC does not overflow.
pub fn containers(
    names: impl Strategy<Value = String>,
    running: bool,
) -> impl Strategy<Value = Vec<Container>> {
    let order = prop_oneof![4 => -2..3, 1 => -1_000_000_000..1_000_000_000];
    let delay = prop_oneof![4 => 0..3_u32, 1 => 0..=i32::MAX as u32];
    let settings = (prop::bool::weighted(0.8), order, delay, prop::bool::weighted(0.6));
    let groups = prop::collection::vec(group(), 0..4);
    prop::collection::btree_map(names, (settings, groups, style()), 0..10).prop_map(move |set| {
        let containers = set.into_iter().map(|(name, ((auto, order, delay, up), groups, style))| Container {
            name,
            auto,
            order,
            delay,
            groups,
            up: up && running,
            style,
        });
        containers.collect()
    })
}
