//! Schedules in the form of cron: five fields, or a descriptor such as `@daily` or `@every 1h30m`.

use std::fmt;

/// Why a text is no schedule, in the words users know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// When something is due. Bit `n` of a field stands for the value `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// At the minutes that all fields allow.
    Fields {
        /// 0–59.
        minutes: u64,
        /// 0–23.
        hours: u64,
        /// 1–31.
        days: u64,
        /// 1–12.
        months: u64,
        /// 0–6, Sunday is 0.
        weekdays: u64,
        /// Whether the day of the month is not restricted.
        any_day: bool,
        /// Whether the day of the week is not restricted.
        any_weekday: bool,
    },
    /// After this many seconds, again and again.
    Every {
        /// At least 1.
        seconds: u64,
    },
}

struct Bounds {
    least: u64,
    most: u64,
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds {
    least: 0,
    most: 59,
    names: &[],
};
const HOURS: Bounds = Bounds {
    least: 0,
    most: 23,
    names: &[],
};
const DAYS: Bounds = Bounds {
    least: 1,
    most: 31,
    names: &[],
};
const MONTHS: Bounds = Bounds {
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAYS: Bounds = Bounds {
    least: 0,
    most: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

fn wrong<T>(message: impl fmt::Display) -> Result<T, CronError> {
    Err(CronError(message.to_string()))
}

impl Schedule {
    /// Reads a schedule. A leading `TZ=` or `CRON_TZ=` is passed over.
    pub fn parse(text: &str) -> Result<Schedule, CronError> {
        if text.is_empty() {
            return wrong("empty spec string");
        }
        let text = match text.strip_prefix("TZ=").or(text.strip_prefix("CRON_TZ=")) {
            Some(rest) => rest.split_once(' ').map_or("", |(_, rest)| rest.trim()),
            None => text,
        };
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            let listed = fields.join(" ");
            return wrong(format!("expected exactly 5 fields, found {}: [{listed}]", fields.len()));
        };
        let free = |field: &str| {
            field
                .split(',')
                .any(|part| part.starts_with(['*', '?']) && !part.contains('/'))
        };
        Ok(Schedule::Fields {
            minutes: field(minutes, &MINUTES)?,
            hours: field(hours, &HOURS)?,
            days: field(days, &DAYS)?,
            months: field(months, &MONTHS)?,
            weekdays: field(weekdays, &WEEKDAYS)?,
            any_day: free(days),
            any_weekday: free(weekdays),
        })
    }
}

fn descriptor(text: &str) -> Result<Schedule, CronError> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(interval) = text.strip_prefix("@every ") else {
                return wrong(format!("unrecognized descriptor: {text}"));
            };
            return match seconds(interval) {
                Some(seconds) => Ok(Schedule::Every {
                    seconds: seconds.max(1),
                }),
                None => wrong(format!(
                    "failed to parse duration {text}: time: invalid duration {interval:?}"
                )),
            };
        }
    };
    Schedule::parse(fields)
}

/// A duration such as `1h30m`, in whole seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[end..];
    }
    // Far more than any schedule, and far less than what a u64 holds.
    (!text.is_empty() && total < 1e15).then(|| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 10^15"
        )]
        let whole = total as u64;
        whole
    })
}

fn field(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| range(part, bounds))
        .try_fold(0, |bits, part| Ok(bits | part?))
}

/// One of `n`, `a-b`, `*`, each with `/step`.
fn range(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let by_step: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = by_step[0].split('-').collect();
    let single = ends.len() == 1;
    let (start, mut end) = match ends[..] {
        ["*" | "?"] => (bounds.least, bounds.most),
        ["*" | "?", ..] => return wrong(format!("too many hyphens: {text}")),
        [one] => (value(one, bounds)?, value(one, bounds)?),
        [a, b] => (value(a, bounds)?, value(b, bounds)?),
        _ => return wrong(format!("too many hyphens: {text}")),
    };
    let step = match by_step[..] {
        [_] => 1,
        [_, step] => {
            // `n/step` goes on to the end.
            if single {
                end = bounds.most;
            }
            number(step)?
        }
        _ => return wrong(format!("too many slashes: {text}")),
    };
    if start < bounds.least {
        return wrong(format!(
            "beginning of range ({start}) below minimum ({}): {text}",
            bounds.least
        ));
    }
    if end > bounds.most {
        return wrong(format!("end of range ({end}) above maximum ({}): {text}", bounds.most));
    }
    if start > end {
        return wrong(format!(
            "beginning of range ({start}) beyond end of range ({end}): {text}"
        ));
    }
    if step == 0 {
        return wrong(format!("step of range should be a positive number: {text}"));
    }
    let mut bits = 0;
    let mut at = start;
    while at <= end {
        bits |= 1 << at;
        at = at.saturating_add(step);
    }
    Ok(bits)
}

fn value(text: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let lower = text.to_ascii_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.least + at as u64),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u64, CronError> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => wrong(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(number.unsigned_abs()),
        Err(_) => wrong(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Schedule::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn schedules_are_read() {
        let Schedule::Fields {
            minutes,
            hours,
            days,
            months,
            weekdays,
            any_day,
            any_weekday,
        } = Schedule::parse("*/20 8-10 1,15 JAN 1-5/2").unwrap()
        else {
            panic!("fields")
        };
        assert_eq!(minutes, 1 | 1 << 20 | 1 << 40);
        assert_eq!(hours, 1 << 8 | 1 << 9 | 1 << 10);
        assert_eq!(days, 1 << 1 | 1 << 15);
        assert_eq!(months, 1 << 1);
        assert_eq!(weekdays, 1 << 1 | 1 << 3 | 1 << 5);
        assert_eq!((any_day, any_weekday), (false, false));
        assert_eq!(Schedule::parse("@daily"), Schedule::parse("0 0 * * *"));
        assert_eq!(Schedule::parse("@every 1h30m"), Ok(Schedule::Every { seconds: 5400 }));
        assert!(Schedule::parse("0 0 ? * sun").is_ok() && Schedule::parse("5/15 * * * *").is_ok());
    }

    #[test]
    fn mistakes_are_worded_as_users_know() {
        assert_eq!(error("* * * *"), "expected exactly 5 fields, found 4: [* * * *]");
        assert_eq!(error("60 * * * *"), "end of range (60) above maximum (59): 60");
        assert_eq!(error("* * 0 * *"), "beginning of range (0) below minimum (1): 0");
        assert_eq!(
            error("5-3 * * * *"),
            "beginning of range (5) beyond end of range (3): 5-3"
        );
        assert_eq!(error("*/0 * * * *"), "step of range should be a positive number: */0");
        assert_eq!(error("@often"), "unrecognized descriptor: @often");
        assert_eq!(
            error("x * * * *"),
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"
        );
        assert!(error("@every soon").starts_with("failed to parse duration @every soon"));
    }
}
