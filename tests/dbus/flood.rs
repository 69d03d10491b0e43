//! Callers without end, on a private bus: they are refused, and root is heard all the same.

use std::{collections::HashMap, thread, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use guestd::{
    daemon::handle::Handle,
    dbus::{errors::Error, proxy::ManagerProxy},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use zbus::{Connection, connection::Builder};

use crate::{
    host::{Host, NOBODY},
    manager::{Manager, guest},
    pair::{Pair, uncached},
};

/// What does not happen within this time does not happen.
const DEADLINE: Duration = Duration::from_secs(20);
/// A bus lets one connection wait for 128 answers; more calls than guestd keeps take more connections.
const CONNECTIONS: usize = 4;
const CALLS: usize = 100;

/// A polkit that never answers.
struct Silent;

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Silent {
    async fn check_authorization(
        &self,
        _subject: (String, HashMap<String, zbus::OwnedVariant>),
        _action: String,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation: String,
    ) -> ((bool, bool, HashMap<String, String>),) {
        std::future::pending().await
    }
}

async fn silent_polkit(host: &Host) -> Connection {
    let polkit = Builder::address(host.bus.address().as_str())
        .serve_at("/org/freedesktop/PolicyKit1/Authority", Silent)
        .name("org.freedesktop.PolicyKit1")
        .build();
    polkit.await.unwrap()
}

/// Calls as nobody from a thread of its own: gives the first answer to `first`, and keeps the other calls waiting until
/// `enough`.
async fn flood(address: String, first: oneshot::Sender<Error>, enough: oneshot::Receiver<()>) {
    let connect = async |_| Builder::address(address.as_str()).build().await.unwrap();
    let connections = join_all((0..CONNECTIONS).map(connect)).await;
    let proxy = async |connection| uncached(ManagerProxy::builder(connection)).await;
    let managers = join_all(connections.iter().map(proxy)).await;
    let none = HashMap::new();
    let call = async |n: usize| managers[n / CALLS].start("db", &none).await;
    let mut calls: FuturesUnordered<_> = (0..CONNECTIONS * CALLS).map(call).collect();
    let refused = calls.next().await.unwrap().unwrap_err();
    first.send(refused).unwrap();
    tokio::select! {
        _ = enough => {}
        () = async { while calls.next().await.is_some() {} } => panic!("no call waits any more"),
    }
}

/// The rest of this thread is nobody's.
fn become_nobody() {
    // SAFETY: it takes numbers only. Called so, and not through the C library, it changes this thread alone.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[tokio::test]
async fn calls_without_end_are_refused_and_root_is_heard() {
    let host = Host::start().await;
    let _polkit = silent_polkit(&host).await;
    let (address, (first, refused), (enough, wait)) =
        (host.bus.address(), oneshot::channel(), oneshot::channel());
    let others = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        become_nobody();
        runtime.block_on(flood(address, first, wait));
    });
    let refused = timeout(DEADLINE, refused).await.expect("an answer").unwrap();
    let Error::LimitsExceeded(text) = refused else { panic!("{refused}") };
    assert!(text.starts_with("too many calls wait ") && text.ends_with("try again in a moment"), "{text}");
    // It may meet the others at the door, where nobody stays.
    let heard = async { while !host.call(0, &["Start", "sa{sv}", "db", "0"]).await.status.success() {} };
    timeout(DEADLINE, heard).await.expect("root is heard");
    assert_eq!(host.manager.asked().len(), 1, "nobody else was let through");
    enough.send(()).unwrap();
    tokio::task::spawn_blocking(|| others.join().unwrap()).await.unwrap();
}

#[tokio::test]
async fn plans_without_end_are_refused() {
    let mut manager = Manager::of([guest("db", &[])]);
    // It never answers.
    let (commands, _inbox) = mpsc::unbounded_channel();
    manager.handle = Handle::new(commands, manager.handle.subscribe());
    let pair = Pair::of(manager, 65534).await;
    let (proxy, none) = (pair.proxy().await, HashMap::new());
    let mut plans: FuturesUnordered<_> = (0..20).map(|_| proxy.plan("start", &[], &none)).collect();
    for _ in 16..20 {
        let refused = timeout(DEADLINE, plans.next()).await.expect("an answer").unwrap().unwrap_err();
        let Error::LimitsExceeded(text) = refused else { panic!("{refused}") };
        assert!(text.contains("wait for their plans"), "{text}");
    }
    let refused = timeout(DEADLINE, proxy.refusals("start", &[], &none)).await.expect("an answer");
    assert!(matches!(refused, Err(Error::LimitsExceeded(_))), "{refused:?}");
}
