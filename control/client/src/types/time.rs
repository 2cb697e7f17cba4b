//! Points in time, as the API writes them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

/// RFC 3339, in UTC and whole seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct Time(pub Timestamp);

/// RFC 3339, in UTC and microseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct MicroTime(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for MicroTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_written_as_the_api_writes_them() {
        let text = "\"2026-01-02T03:04:05.678901234+01:00\"";
        let time: Time = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-02T02:04:05Z\"");
        let time: MicroTime = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-02T02:04:05.678901Z\"");
    }
}
