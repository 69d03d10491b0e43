//! `sysctl`: settings of the kernel in the guest's namespaces.

use crate::import::native::sysctl;

use super::reading::Reading;

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
        let name = setting.text.replace('/', ".");
        let refusal = if name == "kernel.hostname" {
            Some("the host name is that of uts/nodename; write it there".to_owned())
        } else {
            sysctl::refusal(&name)
        };
        if let Some(refusal) = refusal {
            reading.error(&setting.origin, || refusal);
        } else if !sysctl::is_value(&value.text) {
            reading.error(&value.origin, || {
                "the value is longer than 4096 bytes, or has no letters; mend it".into()
            });
        } else {
            all.push((name, value.text));
        }
    }
    all
}
