//! Which guests a bulk request selects: the options of `autostart`, parsed.

use std::{collections::HashSet, path::PathBuf};

use super::name::{GroupName, NameError};

/// Which guests a bulk request selects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Groups in the order given; `None` is the null group. Empty means the null group alone, unless `boot` is set.
    pub groups: Vec<Option<GroupName>>,
    /// Ignore groups (`-a`).
    pub all: bool,
    /// Also guests without `start.auto` (`-A`).
    pub ignore_auto: bool,
    /// Only guests of this lxcpath (`-P`). Whoever plans such a request first finds the path that is meant: a path may
    /// be spelt in several ways, and the guests' own spelling counts.
    pub lxcpath: Option<PathBuf>,
    /// Use the settings' `boot-groups`, and leave out groups already brought up this boot (`--boot`). Whoever plans
    /// such a request first puts into `groups` those that are left; when none is left, it selects nobody.
    pub boot: bool,
}

impl Selection {
    /// Reads the arguments of `-g`, each a comma list: an empty element anywhere is the null group, also the whole
    /// of an empty argument. A group named twice counts where it is named first.
    ///
    /// # Errors
    /// [`NameError`] of the first element that is no group's name.
    pub fn parse_groups<T: AsRef<str>>(
        lists: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Option<GroupName>>, NameError> {
        let mut groups = Vec::new();
        let mut seen = HashSet::new();
        for list in lists {
            for element in list.as_ref().split(',') {
                let group = if element.is_empty() { None } else { Some(GroupName::new(element)?) };
                if seen.insert(group.clone()) {
                    groups.push(group);
                }
            }
        }
        Ok(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_lists_are_read_as_written() {
        let table: [(&[&str], &[&str]); 10] = [
            (&[], &[]),
            (&[""], &[""]),
            (&["onboot"], &["onboot"]),
            (&["onboot,"], &["onboot", ""]),
            (&[",onboot"], &["", "onboot"]),
            (&["dns,web,,onboot"], &["dns", "web", "", "onboot"]),
            (&["a,b", ",c"], &["a", "b", "", "c"]),
            (&["a,b", "b,a,,", "c,"], &["a", "b", "", "c"]),
            (&["web,webserver,we"], &["web", "webserver", "we"]),
            (&["A,a"], &["A", "a"]),
        ];
        for (lists, wanted) in table {
            let groups = Selection::parse_groups(lists).unwrap();
            let shown: Vec<_> = groups.iter().map(|g| g.as_ref().map_or("", GroupName::as_str)).collect();
            assert_eq!(shown, wanted, "{lists:?}");
        }
    }

    #[test]
    fn a_bad_group_name_is_refused_by_name() {
        for (list, part) in
            [("a,b/c", "\"b/c\" holds '/'"), ("a, b", "\" b\" holds ' '"), ("a\n", "holds '\\n'")]
        {
            let message = Selection::parse_groups([list]).unwrap_err().to_string();
            assert!(message.contains(part), "{list:?}: {message}");
        }
    }
}
