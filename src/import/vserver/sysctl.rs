//! `sysctl`: settings of the kernel in the guest's namespaces.

use crate::import::findings::source;

use super::reading::Reading;

/// What a namespace has of its own (namespaces(7)), by the beginning of its name.
const OWN: [&str; 5] = ["net.", "kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];

/// Names with dots, and values.
pub(super) fn read(reading: &mut Reading<'_>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let folders: Vec<String> = reading.guest.names("sysctl").map(str::to_owned).collect();
    for folder in folders {
        let folder = format!("sysctl/{folder}");
        let Some(setting) = reading.scalar(&format!("{folder}/setting")) else {
            reading.error(&reading.guest.origin(&folder), || {
                "this sets nothing: write the setting's name into setting, and its value into value".into()
            });
            continue;
        };
        let Some(value) = reading.scalar(&format!("{folder}/value")) else {
            reading
                .error(&setting.origin, || "it has no value; write that into value, beside this file".into());
            continue;
        };
        let is_name = |name: &str| {
            let parts = name.split('.').all(|part| !part.is_empty() && part != ".");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            parts && name.len() <= 128 && name.bytes().all(plain)
        };
        let name = setting.text.replace('/', ".");
        if !is_name(&name) {
            reading.wrong(&setting, "the name of a setting, such as net.ipv4.ip_forward");
        } else if !OWN.iter().any(|own| name.starts_with(own)) {
            reading.error(&setting.origin, || {
                format!("{} belongs to the whole host, and no guest sets it; use sysctl.d(5)", source(&name))
            });
        } else if value.text.len() > 1024 {
            reading.error(&value.origin, || "the value is longer than 1024 bytes; shorten it".into());
        } else {
            all.push((name, value.text));
        }
    }
    all
}
