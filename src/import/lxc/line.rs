//! The line rules of LXC's configuration files.
//!
//! Lines end at CR or LF and never go on in the next one. Blanks in front are skipped; `#` begins a comment there and
//! nowhere else. What does not begin with `lxc.` is ignored. Key and value are trimmed, and one pair of equal quotes
//! around the value is taken away.

use std::borrow::Cow;

use crate::{
    import::{Text, excerpt::LINE_MAX, findings::Findings},
    model::name::shown,
};

/// The blanks that LXC trims.
const BLANKS: [char; 2] = [' ', '\t'];

/// Calls `take` with the number, key and value of every line that sets something, in order. What is wrong with a line
/// as such becomes a finding.
pub fn for_each(text: &Text, findings: &mut Findings, mut take: impl FnMut(&mut Findings, u32, &str, &str)) {
    let mut number = 0;
    for line in text.bytes.split(|byte| *byte == b'\n') {
        number += 1;
        if line.len() > LINE_MAX {
            findings.error(number, || {
                format!("the line is longer than {LINE_MAX} bytes and is ignored; shorten it")
            });
            continue;
        }
        for part in line.split(|byte| *byte == b'\r') {
            if let Some(part) = without_nul(part, number, findings)
                && let Some((key, value)) = assignment(&part, number, findings)
            {
                take(findings, number, key, value);
            }
        }
    }
    if text.cut {
        findings.error(number, || {
            "the file is larger than 1 MiB; what comes after this line is ignored; shorten the file".into()
        });
    }
}

/// The text of a line up to the first NUL, if the line is one that LXC would look at.
fn without_nul<'l>(line: &'l [u8], number: u32, findings: &mut Findings) -> Option<Cow<'l, str>> {
    let nul = line.iter().position(|byte| *byte == 0);
    if nul.is_some() {
        findings.error(number, || {
            "the line holds a NUL byte, at which LXC stops reading the file; the lines after it are still read here; \
             remove it"
                .into()
        });
    }
    let line = &line[..nul.unwrap_or(line.len())];
    let line = &line[line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()..];
    if !line.starts_with(b"lxc.") {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    if matches!(text, Cow::Owned(_)) {
        findings.warning(number, || "the line is not valid UTF-8; write it in UTF-8".into());
    }
    Some(text)
}

/// Key and value of a line that begins with `lxc.`.
fn assignment<'l>(line: &'l str, number: u32, findings: &mut Findings) -> Option<(&'l str, &'l str)> {
    let Some((key, value)) = line.split_once('=') else {
        findings.error(number, || {
            format!(
                "\"{}\" has no \"=\": LXC refuses the whole container; write it as KEY = VALUE or put \"#\" before it",
                shown(line)
            )
        });
        return None;
    };
    Some((key.trim_end_matches(BLANKS), unquoted(value.trim_matches(BLANKS))))
}

/// Takes away one pair of equal quotes around a value.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::import::excerpt;

    fn read(bytes: &[u8]) -> (Vec<(u32, String, String)>, Vec<String>) {
        let mut findings = Findings::new(Path::new("/c").into());
        let mut lines = Vec::new();
        for_each(&excerpt::of(bytes), &mut findings, |_, number, key, value| {
            lines.push((number, key.to_owned(), value.to_owned()));
        });
        (lines, findings.finish().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_are_trimmed_and_unquoted_once() {
        for (line, key, value) in [
            ("lxc.a=1", "lxc.a", "1"),
            ("  \tlxc.a \t=\t 1 \t", "lxc.a", "1"),
            ("lxc.a = \"x y\"", "lxc.a", "x y"),
            ("lxc.a = 'x'", "lxc.a", "x"),
            ("lxc.a = \"\"x\"\"", "lxc.a", "\"x\""),
            ("lxc.a = \"x'", "lxc.a", "\"x'"),
            ("lxc.a = \"x", "lxc.a", "\"x"),
            ("lxc.a = \"", "lxc.a", "\""),
            ("lxc.a = ' x '", "lxc.a", " x "),
            ("lxc.a =", "lxc.a", ""),
            ("lxc.a = b = c", "lxc.a", "b = c"),
            ("lxc.a = 1 # x", "lxc.a", "1 # x"),
        ] {
            let (lines, problems) = read(line.as_bytes());
            assert_eq!(lines, [(1, key.into(), value.into())], "{line:?}");
            assert_eq!(problems, [""; 0], "{line:?}");
        }
    }

    #[test]
    fn comments_and_foreign_lines_are_ignored_and_counted() {
        let (lines, problems) =
            read(b"# a\n\n  # b \xff\nLXC.a = 1\nfoo bar\r\nlxc.a = 1\rlxc.b = 2\r\nlxc.c = 3");
        let keys: Vec<_> = lines.iter().map(|(number, key, _)| (*number, key.as_str())).collect();
        assert_eq!(keys, [(6, "lxc.a"), (6, "lxc.b"), (7, "lxc.c")]);
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn bad_lines_are_named_and_cost_no_other() {
        let mut bytes = b"lxc.a = 1\nlxc.b\nlxc.c = x\0y\n".to_vec();
        bytes.extend_from_slice(b"lxc.d = \xff\n# ");
        bytes.resize(bytes.len() + 10 * 1024 * 1024, b'x');
        bytes.extend_from_slice(b"\nlxc.e = 5\n");
        let (lines, problems) = read(&bytes);
        let found: Vec<_> = lines.iter().map(|(n, key, value)| (*n, key.as_str(), value.as_str())).collect();
        assert_eq!(
            found,
            [(1, "lxc.a", "1"), (3, "lxc.c", "x"), (4, "lxc.d", "\u{fffd}"), (6, "lxc.e", "5")]
        );
        for (problem, start) in problems.iter().zip([
            "/c:2: error: \"lxc.b\" has no \"=\"",
            "/c:3: error: the line holds a NUL byte",
            "/c:4: warning: the line is not valid UTF-8",
            "/c:5: error: the line is longer than 65536 bytes",
        ]) {
            assert!(problem.starts_with(start), "{problem}");
        }
        assert_eq!(problems.len(), 4);
    }
}
