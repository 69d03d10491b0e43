//! Object paths: where guests and jobs are found on the bus, and what a path names.

use zbus::ObjectPath;

use crate::model::{GuestName, JobId, name::bus_label};

/// The manager, and the object manager of everything below it.
pub const MANAGER: &str = "/org/guestd1";
/// What guests' paths begin with.
const GUESTS: &str = "/org/guestd1/guest/";
/// What jobs' paths begin with.
const JOBS: &str = "/org/guestd1/job/";

/// The object of a guest.
pub fn of_guest(name: &GuestName) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{GUESTS}{}", bus_label(name.as_str())))
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
