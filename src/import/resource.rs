//! `[resources]`: systemd's names, and values as systemd writes them.

use crate::model::{Amount, Resource};

use super::{
    Layer,
    toml::{Document, Field},
};

/// Its keys.
pub(super) const KEYS: [&str; 7] = {
    let mut keys = [""; 7];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = Resource::ALL[at].key();
        at += 1;
    }
    keys
};

/// Reads one key of the section.
pub(super) fn read<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, layer: &mut Layer) {
    let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.key() == field.key) else {
        return document.unknown(field, &KEYS);
    };
    let (wanted, example, amount): (_, _, fn(&str) -> Option<Amount>) = match resource {
        Resource::MemoryMax | Resource::MemoryHigh => {
            ("a size such as \"512M\" or \"1.5G\", or \"infinity\"", "\"512M\"", |text| {
                memory(text).filter(|amount| *amount != Amount::Bytes(0))
            })
        }
        Resource::MemorySwapMax => ("a size such as 0 or \"512M\", or \"infinity\"", "\"512M\"", memory),
        Resource::CpuWeight => ("a whole number from 1 to 10000, or \"idle\"", "100", |text| match text {
            "idle" => Some(Amount::Idle),
            text => weight(text),
        }),
        Resource::IoWeight => ("a whole number from 1 to 10000", "100", weight),
        Resource::CpuQuota => {
            ("a part of one processor such as \"50%\" or \"200%\", or \"infinity\"", "\"50%\"", quota)
        }
        Resource::TasksMax => ("a whole number of at least 1, or \"infinity\"", "1000", tasks),
    };
    if let Some(amount) = document.word(field, wanted, example, amount) {
        layer.resources.insert(resource, amount);
    }
}

fn or_infinity(text: &str, read: impl Fn(&str) -> Option<Amount>) -> Option<Amount> {
    if text == "infinity" { Some(Amount::Infinity) } else { read(text) }
}

fn memory(text: &str) -> Option<Amount> {
    or_infinity(text, |text| bytes(text).map(Amount::Bytes))
}

/// A size in bytes: a number, perhaps with decimals, and perhaps one of K, M, G, T, P and E, each 1024 of the one before.
fn bytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['B', 'K', 'M', 'G', 'T', 'P', 'E']);
    let shift = match &text[number.len()..] {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    let (whole, decimals) = decimal(number)?;
    let whole = u128::from(whole) << shift;
    let rest = (u128::from(decimals) << shift) / u128::from(DECIMALS);
    // The largest number is systemd's "infinity".
    u64::try_from(whole + rest).ok().filter(|bytes| *bytes < u64::MAX)
}

/// The unit in which [`decimal`] counts what stands behind the point.
const DECIMALS: u32 = 1_000_000;

/// A number with at most six decimals: its whole part, and the rest in millionths.
fn decimal(text: &str) -> Option<(u64, u32)> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 6 {
        return None;
    }
    Some((whole.parse().ok()?, format!("{decimals:0<6}").parse().ok()?))
}

/// A percentage of one processor, with at most two decimals.
fn quota(text: &str) -> Option<Amount> {
    or_infinity(text, |text| {
        let (whole, millionths) = decimal(text.strip_suffix('%')?)?;
        let hundredth = DECIMALS / 100;
        let hundredths = u32::try_from(whole).ok()?.checked_mul(100)?.checked_add(millionths / hundredth)?;
        // systemd counts in an int.
        let fits = millionths % hundredth == 0 && hundredths > 0 && i32::try_from(hundredths).is_ok();
        fits.then_some(Amount::Processor(hundredths))
    })
}

fn number(text: &str) -> Option<u64> {
    decimal(text).filter(|_| !text.contains('.')).map(|(number, _)| number)
}

fn weight(text: &str) -> Option<Amount> {
    number(text).filter(|weight| (1..=10_000).contains(weight)).map(Amount::Number)
}

fn tasks(text: &str) -> Option<Amount> {
    or_infinity(text, |text| number(text).filter(|tasks| (1..u64::MAX).contains(tasks)).map(Amount::Number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_systemd_reads_them() {
        for (text, expected) in [
            ("512M", Some(512 << 20)),
            ("1.5G", Some(1536 << 20)),
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("1000B", Some(1000)),
            ("15E", Some(15 << 60)),
            ("16E", None),
            ("18446744073709551615", None),
            ("99999999999999999999", None),
            ("512m", None),
            ("512MB", None),
            ("512 M", None),
            ("1.M", None),
            (".5G", None),
            ("-1", None),
            ("50%", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
        assert_eq!(memory("infinity"), Some(Amount::Infinity));
    }

    #[test]
    fn quotas_are_percentages_of_a_processor() {
        for (text, hundredths) in [
            ("50%", Some(5000)),
            ("250%", Some(25_000)),
            ("12.5%", Some(1250)),
            ("0.01%", Some(1)),
            ("0%", None),
            ("0.001%", None),
            ("50", None),
            ("-5%", None),
            ("99999999%", None),
        ] {
            assert_eq!(quota(text), hundredths.map(Amount::Processor), "{text:?}");
        }
    }

    #[test]
    fn weights_and_tasks_are_within_bounds() {
        for (text, is_weight, is_tasks) in [
            ("1", true, true),
            ("10000", true, true),
            ("10001", false, true),
            ("0", false, false),
            ("1.0", false, false),
            ("18446744073709551615", false, false),
        ] {
            assert_eq!((weight(text).is_some(), tasks(text).is_some()), (is_weight, is_tasks), "{text:?}");
        }
    }
}
