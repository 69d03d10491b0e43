//! Helper requests: a guest's own `reboot -f`, reported by its hook and answered by the daemon (design section 7).
//!
//! `wire` is pure: the packets. `listener` and `server` are the daemon's end of the socket. `client` is
//! `guest-helper`, with its dialects in `dialect` (the largest in `vshelper`) and its end of the socket in `conversation`. `policy` is what the
//! client answers by when the daemon is away (`script` where the policy is a program), and `spool` what it leaves
//! behind; both keep their files with `record`. `short_path` is for sockets in folders with
//! long names.

pub mod client;
pub mod conversation;
pub mod dialect;
pub mod listener;
pub mod policy;
pub mod record;
pub mod script;
pub mod server;
pub mod short_path;
pub mod spool;
pub mod vshelper;
pub mod wire;

/// An error with all its sources, in one line.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        words = format!("{words}: {source}");
        next = source.source();
    }
    words
}
