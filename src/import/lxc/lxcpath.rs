//! LXC's own settings file, `lxc.conf`: only where the containers lie is read of it.
//!
//! It has a parser of its own in LXC: a comment has its `#` in the first column, the first line that fits counts, and
//! nothing is quoted.

use std::path::Path;

use crate::{
    import::{Sourced, Text},
    model::Origin,
};

/// Where LXC keeps containers when nothing else is said.
pub const DEFAULT_LXCPATH: &str = "/var/lib/lxc";

/// The value of `lxc.lxcpath`, if the file sets it, without slashes at its end.
pub fn lxcpath(file: &Path, text: &Text) -> Option<Sourced<String>> {
    let text = String::from_utf8_lossy(&text.bytes);
    let blanks = [' ', '\t'];
    text.lines().zip(1..).find_map(|(line, number)| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim_matches(blanks);
        if line.starts_with('#') || key.trim_matches(blanks) != "lxc.lxcpath" || value.is_empty() {
            return None;
        }
        let path = if value.bytes().all(|byte| byte == b'/') { "/" } else { value.trim_end_matches('/') };
        Some(Sourced::new(path.to_owned(), Origin::line(file, number)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::excerpt;

    #[test]
    fn the_first_line_that_fits_counts() {
        for (text, expected) in [
            ("lxc.lxcpath = /srv/lxc\nlxc.lxcpath = /b\n", Some(("/srv/lxc", 1))),
            ("#lxc.lxcpath = /a\n \tlxc.lxcpath=/srv/lxc//\r\n", Some(("/srv/lxc", 2))),
            ("lxc.lxcpath =\nlxc.lxcpath2 = /a\nlxc.lxcpath\t= /b c", Some(("/b c", 3))),
            ("lxc.lxcpath = /", Some(("/", 1))),
            ("xlxc.lxcpath = /a\nlxc.default_config = /b\n", None),
            ("", None),
        ] {
            let found = lxcpath(Path::new("/etc/lxc/lxc.conf"), &excerpt::of(text.as_bytes()));
            let found = found.map(|found| (found.value, found.origin.line.unwrap_or(0)));
            assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)), "{text:?}");
        }
    }
}
