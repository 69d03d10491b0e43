//! How many calls may be under way at a time. Everybody may call, and each call is kept until it is answered: whoever
//! calls without end gets an error at once, before anything is waited for.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::errors::Error;

/// A kind of call, and how many of it are let in.
#[derive(Debug)]
pub struct Limit {
    what: &'static str,
    most: usize,
    free: Semaphore,
}

impl Limit {
    /// Lets in `most` calls that do `what`: "wait for polkit".
    pub fn new(what: &'static str, most: usize) -> Self {
        Self { what, most, free: Semaphore::new(most) }
    }

    /// Lets a call in, for as long as it holds what it gets.
    ///
    /// # Errors
    /// [`Error::LimitsExceeded`] when there are enough of them.
    pub fn enter(&self) -> Result<SemaphorePermit<'_>, Error> {
        self.free.try_acquire().map_err(|_| {
            Error::LimitsExceeded(format!(
                "too many calls {}: at most {} are kept; try again in a moment",
                self.what, self.most
            ))
        })
    }
}

/// The same, with a limit for each user as well.
#[derive(Debug)]
pub struct LimitEach {
    all: Limit,
    most: usize,
    users: Mutex<HashMap<u32, usize>>,
}

impl LimitEach {
    /// Lets in `most` calls that do `what`, and of each user `most_of_one`.
    pub fn new(what: &'static str, most: usize, most_of_one: usize) -> Self {
        Self { all: Limit::new(what, most), most: most_of_one, users: Mutex::default() }
    }

    /// Lets a call of a user in, for as long as it holds what it gets.
    ///
    /// # Errors
    /// [`Error::LimitsExceeded`] when there are enough of them.
    pub fn enter(&self, uid: u32) -> Result<Entered<'_>, Error> {
        let _permit = self.all.enter()?;
        let mut users = self.users();
        let count = users.entry(uid).or_default();
        if *count >= self.most {
            let (what, most) = (self.all.what, self.most);
            return Err(Error::LimitsExceeded(format!(
                "too many calls of user {uid} {what}: at most {most} are kept"
            )));
        }
        *count += 1;
        Ok(Entered { limit: self, uid, _permit })
    }

    /// What a panic left behind is still whole.
    fn users(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of a user that was let in.
#[derive(Debug)]
pub struct Entered<'a> {
    limit: &'a LimitEach,
    uid: u32,
    _permit: SemaphorePermit<'a>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut users = self.limit.users();
        let left = users.get(&self.uid).map_or(0, |count| count.saturating_sub(1));
        match left {
            0 => users.remove(&self.uid),
            left => users.insert(self.uid, left),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_refused_until_one_is_over() {
        let limit = Limit::new("wait for polkit", 2);
        let (first, _second) = (limit.enter().unwrap(), limit.enter().unwrap());
        let error = limit.enter().unwrap_err();
        assert_eq!(
            error.to_string(),
            "too many calls wait for polkit: at most 2 are kept; try again in a moment"
        );
        drop(first);
        assert!(limit.enter().is_ok());
    }

    #[test]
    fn a_user_takes_no_more_than_a_part() {
        let limit = LimitEach::new("run in guests", 3, 2);
        let (first, _second) = (limit.enter(7).unwrap(), limit.enter(7).unwrap());
        let error = limit.enter(7).unwrap_err().to_string();
        assert_eq!(error, "too many calls of user 7 run in guests: at most 2 are kept");
        let _third = limit.enter(8).unwrap();
        assert!(limit.enter(9).unwrap_err().to_string().contains("at most 3 are kept"));
        drop(first);
        let _fourth = limit.enter(7).unwrap();
        drop((_second, _fourth));
        assert_eq!(limit.users().len(), 1);
    }
}
