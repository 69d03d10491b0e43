//! What is signalled of two moments, and what is not allowed to end it.

use std::os::unix::net::UnixStream;

use zbus::{Guid, connection::Builder, fdo};

use super::*;
use crate::{
    daemon::handle::Handle,
    dbus::authorisation::{Authorisation, Callers},
    model::{JobId, JobState, Timestamp, Verb, status::JobStatus},
};

#[test]
fn what_differs_is_found_once_and_in_order() {
    let map = |pairs: &[(u32, &'static str)]| -> BTreeMap<u32, Arc<&str>> {
        pairs.iter().map(|(key, value)| (*key, Arc::new(*value))).collect()
    };
    let last = map(&[(1, "gone"), (2, "same"), (3, "then"), (9, "gone")]);
    let next = map(&[(0, "new"), (2, "same"), (3, "now"), (4, "new")]);
    let (then, now) = (Arc::new("then"), Arc::new("now"));
    let expected = [
        Difference::New(&0),
        Difference::Gone(&1),
        Difference::Changed(&3, [&then, &now]),
        Difference::New(&4),
        Difference::Gone(&9),
    ];
    assert_eq!(differences(&last, &next), expected);
    assert_eq!(differences(&last, &last), []);
}

/// A moment with these jobs.
fn moment(jobs: &[u32]) -> Arc<Snapshot> {
    let job = |id: &u32| {
        let job = JobStatus {
            id: JobId(*id),
            verb: Verb::Start,
            state: JobState::Running,
            done: 0,
            total: 1,
            status: String::new(),
            guests: Arc::new([]),
            results: BTreeMap::new(),
            started: Timestamp(0),
            ended: None,
        };
        (job.id, Arc::new(job))
    };
    Arc::new(Snapshot { jobs: jobs.iter().map(job).collect(), ..Snapshot::default() })
}

/// A publisher, at one end of a connection between two peers; the other end is given back too.
async fn publisher(mut seen: watch::Receiver<Arc<Snapshot>>) -> (Publisher, Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let handle = Handle::new(mpsc::unbounded_channel().0, seen.clone());
    let authorisation = Authorisation::new(Callers::Peer { uid: 0 });
    let context = Arc::new(Context::new(handle, authorisation, mpsc::unbounded_channel().0));
    let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p();
    let (server, client) = tokio::join!(
        server.serve_at(path::MANAGER, fdo::ObjectManager).build(),
        Builder::unix_stream(ours).p2p().build(),
    );
    (Publisher::begin(server.unwrap(), context, &mut seen).await.unwrap(), client.unwrap())
}

#[tokio::test]
async fn what_goes_wrong_with_one_object_costs_only_that_one() {
    // The newest moment is ahead of the one that is being published.
    let (_newest, seen) = watch::channel(moment(&[2]));
    let (mut publisher, client) = publisher(seen).await;
    publisher.publish(moment(&[1, 2])).await.expect("it goes on");
    let connection = publisher.connection.clone();
    let server = connection.object_server();
    server.remove::<JobObject, _>(path::of_job(JobId(1))).await.unwrap();
    publisher.publish(moment(&[2, 3])).await.expect("it goes on without the one that was not there");
    assert!(server.interface::<_, JobObject>(path::of_job(JobId(3))).await.is_ok(), "the others are there");
    client.close().await.unwrap();
    connection.closed().await;
    publisher.publish(moment(&[])).await.expect_err("without a connection nothing can be published");
}
