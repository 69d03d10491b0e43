//! Names of guests and groups: checked once, where they enter.

use std::{borrow::Borrow, fmt, fmt::Write, path::Path, str::FromStr, sync::Arc};

/// The longest guest name, in bytes: what a host name and machined's names allow.
pub const GUEST_NAME_MAX: usize = 64;
/// The longest group name, in bytes.
pub const GROUP_NAME_MAX: usize = 255;

/// The longest name of a network interface, in bytes: the kernel's IFNAMSIZ, less the zero at its end.
pub const LINK_NAME_MAX: usize = 15;

/// Why a name was refused. Says which name, shortened so that hostile input cannot flood a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("an empty name is not allowed")]
    Empty,
    /// The name is longer than the field allows.
    #[error("the name \"{shown}\" has {length} characters; at most {max} are allowed")]
    TooLong {
        /// The beginning of the name.
        shown: String,
        /// Its length in bytes.
        length: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// The name begins with a character that is only allowed further inside.
    #[error("the name \"{shown}\" begins with \"{first}\"; a guest's name may not start with \".\" or \"-\"")]
    BadStart {
        /// The beginning of the name.
        shown: String,
        /// Its first character.
        first: char,
    },
    /// The name holds a character that is not allowed.
    #[error("the name \"{shown}\" holds {found:?}; allowed are {allowed}")]
    BadCharacter {
        /// The beginning of the name.
        shown: String,
        /// The offending character.
        found: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// The name of an interface is a number, or a word that means something else where interfaces are named.
    #[error("the name \"{shown}\" means something else among interfaces; choose another, such as eth0")]
    Reserved {
        /// The name.
        shown: String,
    },
}

/// Shortens and escapes hostile text for a message.
pub fn shown(text: &str) -> String {
    clipped(text, 40)
}

/// Hostile text for a message, escaped; at most so many characters of it.
pub fn clipped(text: &str, most: usize) -> String {
    clip(text, most, &[])
}

/// The same, where these characters need no escape.
pub fn clip(text: &str, most: usize, verbatim: &[char]) -> String {
    let mut out = String::new();
    for c in text.chars().take(most) {
        if verbatim.contains(&c) {
            out.push(c);
        } else {
            out.extend(c.escape_debug());
        }
    }
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// A path for a message: whole, unless it is longer than anybody means.
pub fn shown_path(path: &Path) -> String {
    clipped(&path.to_string_lossy(), 300)
}

/// The name of a guest: letters, digits, `.`, `_`, `-`; not starting with `.` or `-`; at most 64 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestName(Arc<str>);

/// The name of a group of guests: printable, without blanks, commas and slashes, so that it can stand in LXC's
/// blank-separated `lxc.group`, in a comma list on a command line and in a unit name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

/// The name of a network interface: printable ASCII without blanks, `/`, `:` and `%`; at most 15 bytes; no number and
/// not `.`, `..`, `all` or `default`. The kernel's rules, and systemd's, whose sysctls and tools trip over the rest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName(Arc<str>);

impl GuestName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        const ALLOWED: &str = "letters, digits, \".\", \"_\" and \"-\"";
        let first = text.chars().next().ok_or(NameError::Empty)?;
        check_length(text, GUEST_NAME_MAX)?;
        if matches!(first, '.' | '-') {
            return Err(NameError::BadStart { shown: shown(text), first });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        check_characters(text, allowed, ALLOWED)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl GroupName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        const ALLOWED: &str = "printable characters other than blanks, \",\" and \"/\"";
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        check_length(text, GROUP_NAME_MAX)?;
        let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ',' | '/');
        check_characters(text, allowed, ALLOWED)?;
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LinkName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] names the rule that is broken.
    pub fn new(text: &str) -> Result<Self, NameError> {
        const ALLOWED: &str = "printable ASCII characters other than blanks, \"/\", \":\" and \"%\"";
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        check_length(text, LINK_NAME_MAX)?;
        check_characters(text, |c| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '%'), ALLOWED)?;
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        if is_number || matches!(text, "." | ".." | "all" | "default") {
            return Err(NameError::Reserved { shown: shown(text) });
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_length(text: &str, max: usize) -> Result<(), NameError> {
    if text.len() > max {
        return Err(NameError::TooLong { shown: shown(text), length: text.len(), max });
    }
    Ok(())
}

fn check_characters(
    text: &str,
    allowed: impl Fn(char) -> bool,
    words: &'static str,
) -> Result<(), NameError> {
    match text.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(NameError::BadCharacter { shown: shown(text), found, allowed: words }),
        None => Ok(()),
    }
}

macro_rules! name_traits {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name_traits!(GuestName);
name_traits!(GroupName);
name_traits!(LinkName);

/// Writes a name as one element of an object path, as systemd's `bus_label_escape` does: letters and digits stand for
/// themselves, everything else, and a digit in front, becomes `_` and two hexadecimal digits; an empty name is `_`.
pub fn bus_label(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut label = String::with_capacity(name.len() + 8);
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            write!(label, "_{byte:02x}").expect("writing to a string cannot fail");
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_names_follow_the_rule() {
        for good in ["a", "web-1", "_x", "A.b_c-9", &"n".repeat(64)] {
            assert_eq!(GuestName::new(good).unwrap().as_str(), good);
        }
        for (bad, part) in [
            ("", "empty"),
            (".hidden", "may not start"),
            ("-x", "may not start"),
            ("a/b", "holds '/'"),
            ("a b", "holds ' '"),
            ("a\0b", "holds '\\0'"),
            ("ä", "holds 'ä'"),
        ] {
            let message = GuestName::new(bad).unwrap_err().to_string();
            assert!(message.contains(part), "{bad:?}: {message}");
        }
    }

    #[test]
    fn a_name_of_300_characters_is_refused_in_a_short_message() {
        let message = GuestName::new(&"n".repeat(300)).unwrap_err().to_string();
        assert!(message.contains("300 characters; at most 64"), "{message}");
        assert!(message.len() < 120, "{message}");
    }

    #[test]
    fn group_names_refuse_what_lists_and_paths_use() {
        assert!(GroupName::new("onboot").is_ok());
        assert!(GroupName::new("grün").is_ok());
        for bad in ["", "a/b", "a,b", "a b", "a\tb", "a\nb"] {
            assert!(GroupName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interfaces_are_named_as_the_kernel_and_systemd_allow() {
        for good in ["eth0", "enp0s31f6.4094", "br-lan", "v@x", "123456789012345a".get(1..).unwrap()] {
            assert_eq!(LinkName::new(good).unwrap().as_str(), good);
        }
        for (bad, part) in [
            ("", "empty"),
            ("abcdefghijklmnop", "16 characters; at most 15"),
            ("a/b", "holds '/'"),
            ("eth0:1", "holds ':'"),
            ("eth%d", "holds '%'"),
            ("e th", "holds ' '"),
            ("ä", "holds 'ä'"),
            ("..", "means something else"),
            ("all", "means something else"),
            ("42", "means something else"),
        ] {
            let message = LinkName::new(bad).unwrap_err().to_string();
            assert!(message.contains(part), "{bad:?}: {message}");
        }
    }

    #[test]
    fn names_are_escaped_as_systemd_escapes_them() {
        for (name, label) in [
            ("", "_"),
            ("web", "web"),
            ("web-1", "web_2d1"),
            ("1web", "_31web"),
            ("42", "_342"),
            ("a.b_c", "a_2eb_5fc"),
            ("_x", "_5fx"),
            ("grün", "gr_c3_bcn"),
        ] {
            assert_eq!(bus_label(name), label, "{name:?}");
        }
    }
}
