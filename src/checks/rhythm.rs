//! When a guest is asked, and which answers are told.

use std::time::Duration;

use tokio::time::sleep;

/// Yes, or why not.
pub type Answer = Result<(), String>;

/// Asks at once, and again each `interval` after an answer, until that is yes. Told are the yes, and each no in other words
/// than the one before: a guest that takes long to be ready is no storm of news.
pub async fn until_ready<F: Future<Output = Answer>>(
    interval: Duration,
    mut ask: impl FnMut() -> F,
    tell: impl Fn(Answer),
) {
    let mut last = None;
    loop {
        match ask().await {
            Ok(()) => return tell(Ok(())),
            Err(why) if last.as_ref() == Some(&why) => {}
            Err(why) => {
                tell(Err(why.clone()));
                last = Some(why);
            }
        }
        sleep(interval).await;
    }
}

/// Asks for ever, each `interval` after an answer, and first so long after now: what begins here has just been found
/// ready. Told are every no, and the first yes after one.
pub async fn for_ever<F: Future<Output = Answer>>(
    interval: Duration,
    mut ask: impl FnMut() -> F,
    tell: impl Fn(Answer),
) {
    let mut is_ill = false;
    loop {
        sleep(interval).await;
        let answer = ask().await;
        let is_news = answer.is_err() || is_ill;
        is_ill = answer.is_err();
        if is_news {
            tell(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::time::{Instant, timeout};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    /// Gives these answers, each after two seconds, and then yes for ever; what was told, with the second of it.
    fn played(answers: &[Option<&str>]) -> impl FnMut() -> std::pin::Pin<Box<dyn Future<Output = Answer>>> {
        let mut left: Vec<Answer> =
            answers.iter().rev().map(|answer| answer.map_or(Ok(()), |why| Err(why.to_owned()))).collect();
        move || {
            let answer = left.pop().unwrap_or(Ok(()));
            Box::pin(async {
                sleep(Duration::from_secs(2)).await;
                answer
            })
        }
    }

    type Told = Rc<RefCell<Vec<(u64, Answer)>>>;

    fn recorder() -> (Told, impl Fn(Answer)) {
        let told = Told::default();
        let begun = Instant::now();
        let record = told.clone();
        (told, move |answer| record.borrow_mut().push((begun.elapsed().as_secs(), answer)))
    }

    fn no(why: &str) -> Answer {
        Err(why.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_is_asked_until_it_is_ready_and_only_other_words_are_told() {
        let (told, tell) = recorder();
        let answers = [Some("a"), Some("a"), Some("b"), Some("b"), Some("a")];
        until_ready(INTERVAL, played(&answers), tell).await;
        assert_eq!(*told.borrow(), [(2, no("a")), (26, no("b")), (50, no("a")), (62, Ok(()))]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_guest_that_is_ready_at_once_is_asked_once() {
        let (told, tell) = recorder();
        until_ready(INTERVAL, played(&[]), tell).await;
        assert_eq!(*told.borrow(), [(2, Ok(()))]);
    }

    #[tokio::test(start_paused = true)]
    async fn every_failure_and_the_first_success_after_it_are_told() {
        let (told, tell) = recorder();
        let answers = [None, Some("a"), Some("a"), None, None, Some("b"), None];
        let watch = for_ever(INTERVAL, played(&answers), tell);
        assert!(timeout(Duration::from_secs(600), watch).await.is_err());
        let expected = [(24, no("a")), (36, no("a")), (48, Ok(())), (72, no("b")), (84, Ok(()))];
        assert_eq!(*told.borrow(), expected);
    }
}
