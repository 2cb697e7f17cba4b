//! How much may be sent to the peer.
//!
//! The draft gives every stream and the connection a window that the receiver refills. The library behind `kubectl`
//! never refills one and relies on TCP instead, so a sender that insisted would stall after 64 KiB. Windows are
//! therefore counted from the start, but hold the sender back only once the peer has shown that it takes part.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a window is unless the peer says otherwise (SPDY draft 3.1, 2.6.8).
const INITIAL: i64 = 64 * 1024;

/// The send windows of a connection.
pub(crate) struct Windows {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    enforced: bool,
    initial: i64,
    connection: i64,
    streams: HashMap<u32, i64>,
}

impl Windows {
    pub(crate) fn new() -> Self {
        let state = State {
            enforced: false,
            initial: INITIAL,
            connection: INITIAL,
            streams: HashMap::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in the accounting from now on.
    pub(crate) fn open(&self, stream: u32) {
        let mut state = self.state();
        let initial = state.initial;
        state.streams.insert(stream, initial);
    }

    /// Ends it.
    pub(crate) fn close(&self, stream: u32) {
        self.state().streams.remove(&stream);
        self.changed.notify_waiters();
    }

    /// Waits until something may be sent on `stream` and takes up to `wanted` bytes of what may.
    pub(crate) async fn take(&self, stream: u32, wanted: usize) -> usize {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Armed before the look, so that no change in between is missed.
            changed.as_mut().enable();
            if let Some(granted) = self.try_take(stream, wanted) {
                return granted;
            }
            changed.await;
        }
    }

    fn try_take(&self, stream: u32, wanted: usize) -> Option<usize> {
        let mut state = self.state();
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        // A closed stream's data go nowhere; let the sender find out by itself.
        let window = state.streams.get(&stream).copied().unwrap_or(i64::MAX);
        let granted = if state.enforced {
            wanted.min(window).min(state.connection)
        } else {
            wanted
        };
        if granted <= 0 && wanted > 0 {
            return None;
        }
        state.connection = state.connection.saturating_sub(granted);
        if let Some(window) = state.streams.get_mut(&stream) {
            *window = window.saturating_sub(granted);
        }
        usize::try_from(granted).ok()
    }

    /// The peer has room for more; stream 0 is the connection.
    pub(crate) fn update(&self, stream: u32, delta: u32) {
        {
            let mut state = self.state();
            state.enforced = true;
            let delta = i64::from(delta);
            if stream == 0 {
                state.connection = state.connection.saturating_add(delta);
            } else if let Some(window) = state.streams.get_mut(&stream) {
                *window = window.saturating_add(delta);
            }
        }
        self.changed.notify_waiters();
    }

    /// The peer has set the window streams start with, which also moves those that are open.
    pub(crate) fn set_initial(&self, size: u32) {
        {
            let mut state = self.state();
            state.enforced = true;
            let difference = i64::from(size) - state.initial;
            state.initial = i64::from(size);
            for window in state.streams.values_mut() {
                *window = window.saturating_add(difference);
            }
        }
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_peer_without_flow_control_is_not_waited_for() {
        let windows = Windows::new();
        windows.open(1);
        for _ in 0..100 {
            assert_eq!(windows.take(1, 32 * 1024).await, 32 * 1024);
        }
    }

    #[tokio::test]
    async fn a_peer_with_flow_control_is() {
        let windows = Windows::new();
        windows.open(1);
        windows.set_initial(1000);
        windows.open(3);
        assert_eq!(windows.take(3, 5000).await, 1000);
        assert!(
            tokio::time::timeout(Duration::from_millis(20), windows.take(3, 1))
                .await
                .is_err()
        );
        assert_eq!(windows.take(1, 400).await, 400);
        let (granted, ()) = tokio::join!(windows.take(3, 5000), async { windows.update(3, 70) });
        assert_eq!(granted, 70);
        // The connection's window is another limit: 65536 less what was sent.
        windows.update(3, 1 << 20);
        assert_eq!(windows.take(3, 1 << 20).await, 65536 - 1470);
        let (granted, ()) = tokio::join!(windows.take(3, 9), async { windows.update(0, 5) });
        assert_eq!(granted, 5);
    }
}
