//! What follows a 101: bytes in both directions, which only the two ends understand.

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::sync::watch;

use crate::metrics::Running;

/// Takes the client's side of an upgrade out of its request.
pub fn client_side(request: &mut Request<Incoming>) -> OnUpgrade {
    hyper::upgrade::on(request)
}

/// Joins both sides as soon as both have switched. Ends when either side or the server does; the request is not over before.
pub fn join(
    client: OnUpgrade,
    response: &mut Response<Incoming>,
    mut stopped: watch::Receiver<bool>,
    running: Running,
) {
    let upstream = hyper::upgrade::on(response);
    tokio::spawn(async move {
        let joined = async {
            let (client, upstream) = futures_util::try_join!(client, upstream)?;
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            // A side that goes away without a farewell ends the stream like one that says it.
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
            Ok::<_, hyper::Error>(())
        };
        tokio::select! {
            result = joined => if let Err(error) = result {
                tracing::debug!(%error, "an upgrade failed");
            },
            _ = stopped.wait_for(|stopped| *stopped) => {}
        }
        drop(running);
    });
}
