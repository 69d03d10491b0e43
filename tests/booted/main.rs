//! guestd at home: installed from its package on a Debian host that systemd boots, with real containers in units of
//! their own.

#[path = "../bus/mod.rs"]
mod bus;
#[path = "../busybox/mod.rs"]
mod busybox;
#[path = "../debian/mod.rs"]
mod debian;
#[path = "../executable/mod.rs"]
mod executable;
mod machine;

mod autopkgtest;
mod boot;
mod crash;
mod hooks;
mod journal;
mod machined;
mod native;
mod network;
mod package;
mod people;
mod resources;
mod rivals;
mod serving;
mod shutdown;
mod unit;
