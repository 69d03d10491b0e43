//! Object paths: where guests and jobs are found on the bus, and what a path names.

use std::fmt::Write;

use zbus::ObjectPath;

use crate::model::{GuestName, JobId};

/// The manager, and the object manager of everything below it.
pub const MANAGER: &str = "/org/guestd1";
/// What guests' paths begin with.
const GUESTS: &str = "/org/guestd1/guest/";
/// What jobs' paths begin with.
const JOBS: &str = "/org/guestd1/job/";

/// Writes a name as one element of an object path, as systemd's `bus_label_escape` does: letters and digits stand for
/// themselves, everything else, and a digit in front, becomes `_` and two hexadecimal digits; an empty name is `_`.
pub fn escape(name: &str) -> String {
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

/// The object of a guest.
pub fn of_guest(name: &GuestName) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{GUESTS}{}", escape(name.as_str())))
}

/// The object of a job.
pub fn of_job(id: JobId) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{JOBS}{id}"))
}

/// The job that an object path names, if it names one.
pub fn job_of(path: &str) -> Option<JobId> {
    path.strip_prefix(JOBS)?.parse().ok().map(JobId)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(escape(name), label, "{name:?}");
        }
    }

    #[test]
    fn every_guest_and_job_has_a_valid_path() {
        for name in ["a", "0", "web-1.example.org", "_", &"9".repeat(64)] {
            let path = of_guest(&GuestName::new(name).unwrap());
            assert!(ObjectPath::try_from(path.as_str()).is_ok(), "{path}");
        }
        assert_eq!(job_of(of_job(JobId(7)).as_str()), Some(JobId(7)));
        assert_eq!(job_of("/org/guestd1/guest/a"), None);
        assert_eq!(job_of("/org/guestd1/job/x"), None);
    }
}
