//! What a client asked for.

use jiff::{SignedDuration, Timestamp};

use crate::error::Error;

/// The options of `kubectl logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container has ended.
    pub follow: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only what was written at or after this time.
    pub since: Option<Timestamp>,
    /// Stop after this many bytes of output.
    pub limit_bytes: Option<u64>,
}

impl LogOptions {
    /// Reads the query parameters of `PodLogOptions` through `get`.
    pub(crate) fn parse<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Error> {
        let get = |name| get(name).filter(|value| !value.is_empty());
        let flag = |name| get(name).is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"));
        let bad = |name: &str, value: &str, wanted: &str| {
            Error::BadRequest(format!("{name}: Invalid value: {value:?}: must be {wanted}"))
        };
        let number = |name, minimum: i64, wanted| match get(name) {
            None => Ok(None),
            Some(value) => match value.parse::<i64>() {
                Ok(number) if number >= minimum => Ok(Some(number)),
                _ => Err(bad(name, value, wanted)),
            },
        };
        let unsigned = |number: Option<i64>| number.map(i64::unsigned_abs);
        let since_seconds = number("sinceSeconds", 1, "greater than 0")?;
        let since_time = get("sinceTime")
            .map(|value| {
                value
                    .parse::<Timestamp>()
                    .map_err(|_| bad("sinceTime", value, "a time as in RFC 3339"))
            })
            .transpose()?;
        let since = match (since_seconds, since_time) {
            (Some(_), Some(_)) => {
                return Err(Error::BadRequest(
                    "at most one of sinceTime or sinceSeconds may be specified".to_owned(),
                ));
            }
            // Longer ago than time itself means everything.
            (Some(seconds), None) => Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).ok(),
            (None, time) => time,
        };
        Ok(Self {
            follow: flag("follow"),
            timestamps: flag("timestamps"),
            tail_lines: unsigned(number("tailLines", 0, "greater than or equal to 0")?),
            since,
            limit_bytes: unsigned(number("limitBytes", 1, "greater than 0")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Query;

    fn parse(query: &str) -> Result<LogOptions, Error> {
        let query = Query::of(&format!("/?{query}").parse().unwrap());
        LogOptions::parse(|name| query.get(name))
    }

    #[test]
    fn options_are_read() {
        let options = parse("follow=true&timestamps=1&tailLines=0&limitBytes=5&sinceTime=2026-01-02T03:04:05%2B01:00");
        let since = Some("2026-01-02T02:04:05Z".parse().unwrap());
        let wanted = LogOptions {
            follow: true,
            timestamps: true,
            tail_lines: Some(0),
            since,
            limit_bytes: Some(5),
        };
        assert_eq!(options.unwrap(), wanted);
        assert_eq!(parse("tailLines=&follow=false").unwrap(), LogOptions::default());
        let hour = parse("sinceSeconds=3600").unwrap().since.unwrap();
        assert!((3599..=3601).contains(&Timestamp::now().duration_since(hour).as_secs()));
        assert_eq!(parse(&format!("sinceSeconds={}", i64::MAX)).unwrap().since, None);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "tailLines=-1",
            "tailLines=x",
            "limitBytes=0",
            "sinceSeconds=0",
            "sinceTime=noon",
            "sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z",
        ] {
            assert!(matches!(parse(bad), Err(Error::BadRequest(_))), "{bad}");
        }
    }
}
