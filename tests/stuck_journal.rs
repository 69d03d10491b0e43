//! A journal that takes nothing holds up nobody: lines wait in a bounded queue, and what does not fit is counted.

use std::{
    sync::{
        Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use guestd::systemd::queue::Queue;
use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

const DEADLINE: Duration = Duration::from_secs(10);

/// Takes a line each time it is let.
struct Stuck {
    gate: Mutex<Receiver<()>>,
    taken: Sender<String>,
}

impl<S: Subscriber> Layer<S> for Stuck {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let _ = self.gate.lock().expect("the only one").recv();
        let mut line = format!("{}", event.metadata().level());
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!(" {}={value:?}", field.name()));
        });
        let _ = self.taken.send(line);
    }
}

#[test]
fn lines_are_queued_then_counted_and_all_is_said_later() {
    let ((open, gate), (taken, lines)) = (channel(), channel());
    let (queue, flush) =
        Queue::before(Stuck { gate: Mutex::new(gate), taken }, 4, "lines").expect("a thread");
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(queue)).expect("the first");

    let began = Instant::now();
    for n in 0..100 {
        tracing::info!(guest = "web", absent = None::<u32>, "line {n}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "somebody waited for the journal");

    drop(open);
    let mut kept = Vec::new();
    let told = loop {
        let line = lines.recv_timeout(DEADLINE).expect("a line");
        if line.starts_with("WARN") {
            break line;
        }
        kept.push(line);
    };
    assert_eq!(kept[0], r#"INFO message="line 0" guest="web""#);
    // Four waited, and perhaps one was being written.
    assert!((4..=5).contains(&kept.len()), "{kept:?}");
    let lost = 100 - kept.len();
    let words = format!("the journal did not take lines in time: {lost} were lost so far");
    assert_eq!(told, format!("WARN message={words:?}"));

    tracing::info!("the end");
    drop(flush);
    assert_eq!(lines.try_recv().as_deref(), Ok(r#"INFO message="the end""#), "it was waited for");
}
