//! From the options to a way to etcd.

use crate::Error;

use super::grpc::{Channel, Endpoint};
use super::{EtcdOptions, tls};

/// A channel to the endpoints of the options; connects when it is first used.
pub(crate) fn channel(options: &EtcdOptions) -> Result<Channel, Error> {
    let endpoints = options.endpoints.iter().map(|text| endpoint(text));
    Ok(Channel::new(
        endpoints.collect::<Result<_, _>>()?,
        tls::config(options)?,
    ))
}

fn endpoint(text: &str) -> Result<Endpoint, Error> {
    let invalid = || Error::Endpoint { text: text.to_owned() };
    let (scheme, rest) = text.trim_end_matches('/').split_once("://").ok_or_else(invalid)?;
    let tls = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(invalid()),
    };
    let (host, port) = rest.rsplit_once(':').ok_or_else(invalid)?;
    Ok(Endpoint {
        host: host.to_owned(),
        port: port.parse().map_err(|_| invalid())?,
        tls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let parsed = endpoint("https://[::1]:2379/").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.tls), ("[::1]", 2379, true));
        for wrong in ["127.0.0.1:2379", "http://host", "ftp://host:1", "http://host:x"] {
            assert!(endpoint(wrong).is_err(), "{wrong}");
        }
    }
}
