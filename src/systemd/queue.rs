//! Log lines on their way to a journal that may be stuck: each is taken at once, or dropped and counted. A thread of
//! its own writes them, and waits where there is to wait.

use std::{
    fmt::Debug,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Value, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

/// How long the end of the daemon waits for lines that are not written yet.
const FLUSH: Duration = Duration::from_secs(1);

/// The layer that takes lines. What encloses them (spans) is not kept.
#[derive(Debug)]
pub struct Queue {
    items: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// Waits, when it is dropped, until what was queued before is written: at most a second.
#[derive(Debug)]
pub struct Flush(SyncSender<Item>);

#[derive(Debug)]
enum Item {
    Line(Line),
    Flush(SyncSender<()>),
}

/// A line with the texts of its fields, in their order.
#[derive(Debug)]
struct Line {
    metadata: &'static Metadata<'static>,
    texts: Vec<Option<String>>,
}

impl Queue {
    /// A queue of so many lines before a layer that may block; `what` they are called where they are lost.
    ///
    /// # Errors
    /// When there can be no other thread.
    pub fn before(
        layer: impl Layer<Registry> + Send + Sync + 'static,
        capacity: usize,
        what: &'static str,
    ) -> io::Result<(Self, Flush)> {
        let (sender, items) = sync_channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        // Not a subscriber of anything but what is handed to it here.
        let sink = tracing_subscriber::registry().with(layer);
        thread::Builder::new().name("journal".into()).spawn(move || write(&items, &sink, &counted, what))?;
        Ok((Self { items: sender.clone(), lost }, Flush(sender)))
    }
}

impl<S: Subscriber> Layer<S> for Queue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut line = Line { metadata, texts: vec![None; metadata.fields().len()] };
        event.record(&mut line);
        if self.items.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(text) = self.texts.get_mut(field.index()) {
            *text = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl Line {
    fn write(&self, sink: &impl Subscriber) {
        let values = self.texts.iter().map(|text| text.as_ref().map(|text| text as &dyn Value));
        let values: Vec<_> = values.collect();
        sink.event(&Event::new(self.metadata, &self.metadata.fields().value_set_all(&values)));
    }
}

/// Writes what comes. Says how much was lost once there is room for saying so; for all there was since the beginning,
/// since this line may be lost as well.
fn write(items: &Receiver<Item>, sink: &impl Subscriber, lost: &AtomicU64, what: &str) {
    let mut told = 0;
    loop {
        let item = match items.try_recv() {
            Err(TryRecvError::Empty) => {
                let count = lost.load(Ordering::Relaxed);
                if count > told {
                    tracing::warn!("the journal did not take {what} in time: {count} were lost so far");
                    told = count;
                }
                items.recv().ok()
            }
            item => item.ok(),
        };
        match item {
            Some(Item::Line(line)) => line.write(sink),
            // Whoever waited may have gone.
            Some(Item::Flush(done)) => drop(done.send(())),
            None => return,
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.try_send(Item::Flush(done)).is_ok() {
            // In vain where the journal is stuck.
            let _ = written.recv_timeout(FLUSH);
        }
    }
}
