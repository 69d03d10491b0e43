//! How many calls may be under way at a time. Everybody may call, and each call is kept until it is answered: whoever
//! calls without end gets an error at once, before anything is waited for.

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
}
