//! The `v1.Status` that ends a remote command, sent on the error channel.

use serde_json::{Value, json};

use crate::error::Error;
use crate::node::ExitStatus;

/// The status for the end of a program. Clients learn the exit code from a cause, as text.
pub(crate) fn of(result: &Result<ExitStatus, Error>) -> Value {
    match result {
        Ok(ExitStatus { code: 0 }) => json!({ "metadata": {}, "status": "Success" }),
        Ok(ExitStatus { code }) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(error) => {
            let reason = match error {
                Error::NotFound(_) => "NotFound",
                Error::BadRequest(_) => "BadRequest",
                Error::Internal(_) => "InternalError",
            };
            json!({
                "metadata": {},
                "status": "Failure",
                "message": error.to_string(),
                "reason": reason,
                "details": { "causes": [{ "message": error.to_string() }] },
                "code": error.status().as_u16(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_causes() {
        assert_eq!(of(&Ok(ExitStatus { code: 0 }))["status"], "Success");
        let status = of(&Ok(ExitStatus { code: 7 }));
        assert_eq!(status["reason"], "NonZeroExitCode");
        assert_eq!(
            status["details"]["causes"][0],
            json!({ "reason": "ExitCode", "message": "7" })
        );
        assert_eq!(of(&Err(Error::Internal("x".to_owned())))["reason"], "InternalError");
    }
}
