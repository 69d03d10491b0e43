//! Bad packets to the helper socket.

use std::{
    fs,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, process::CommandExt},
    },
    process::Output,
};

use nix::sys::{
    socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt},
    time::TimeVal,
};

use super::{Host, Stage, host, host::executable, nothing_else_is_affected, told};

/// Sends one packet, and hears what comes back.
fn send(host: &Host, packet: &[u8]) -> String {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).expect("a socket");
    let patience = TimeVal::new(10, 0);
    socket::setsockopt(&socket, sockopt::ReceiveTimeout, &patience).expect("a time limit");
    socket::setsockopt(&socket, sockopt::SndBuf, &(1024 * 1024)).expect("room for it");
    let address = UnixAddr::new(&host.at("run/helper.sock")).expect("an address");
    socket::connect(socket.as_raw_fd(), &address).expect("a connection");
    socket::send(socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).expect("it is sent");
    let mut buffer = [0; 8192];
    let length = socket::recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("an answer");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn packets_that_cannot_be_requests() {
    let mut host = host();
    host.start_daemon();
    let pad = "x".repeat(128 * 1024);
    let (large, long) =
        (format!("{{\"guest\": \"good\", \"event\": \"reboot\", \"pad\": \"{pad}\"}}"), "n".repeat(300));
    let name = format!("{{\"guest\": \"{long}\", \"event\": \"reboot\"}}");
    for (packet, words) in [
        (large.as_bytes(), "larger than 8192 bytes"),
        (name.as_bytes(), "300 characters; at most 64"),
        (b"\0\xff\x01", "JSON"),
    ] {
        let answer = send(&host, packet);
        assert!(answer.contains(words), "{answer}");
        assert!(answer.len() < 1024, "{answer}");
        let log = host.log();
        assert!(
            log.lines().any(|line| line.contains("refused a helper request: ") && line.contains(words)),
            "{log}"
        );
        assert!(!log.contains(&"x".repeat(200)), "the packet does not flood the log");
    }
    nothing_else_is_affected(&host);
}

/// Reports a reboot as the user nobody.
fn report_as_nobody(host: &Stage) -> Output {
    // Where the program was built, others may not look.
    let program = host.at("helper");
    if !program.exists() {
        executable::copy(env!("CARGO_BIN_EXE_guest-helper"), &program);
    }
    let mut command = host.command(&program);
    command.uid(65534).gid(65534).current_dir("/").arg("--runtime-dir").arg(host.at("run"));
    command.args(["--guest", &host.good, "reboot"]).output().expect("the helper")
}

#[test]
fn only_root_is_heard() {
    let mut host = host();
    host.start_daemon();
    let shut_out = report_as_nobody(&host);
    assert_eq!(shut_out.status.code(), Some(2));
    assert!(told(&shut_out).contains("only root may report"), "{}", told(&shut_out));
    // Not even when somebody widens the socket's mode.
    let widened = fs::Permissions::from_mode(0o666);
    fs::set_permissions(host.at("run/helper.sock"), widened).expect("a mode");
    let refused = report_as_nobody(&host);
    let words = "only root may report; the peer is uid 65534";
    assert_eq!(refused.status.code(), Some(2));
    assert!(told(&refused).contains(words), "{}", told(&refused));
    assert!(host.log().contains(words), "{}", host.log());
    assert_eq!(host.status(&host.good)["helper"], serde_json::Value::Null, "nothing was taken");
    nothing_else_is_affected(&host);
}
