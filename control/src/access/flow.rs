//! Seats: how many requests run at a time, by priority level, and whose turn it is when all are taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barepod_auth::attributes::Attributes;
use barepod_auth::flow::{Flows, Level, Place, Queues};
use barepod_store::{Object, Store};
use tokio::sync::oneshot;

use super::follow::{Followed, Table};
use crate::engine::parse;
use crate::metrics::{Family, FlowNumbers, Page, labels};

/// Seats for each processor. A request holds one while it is worked on, not while its answer is sent or watched.
const SEATS_PER_CPU: usize = 64;
/// How long a request waits for a seat, a quarter of the time it may take in all.
const PATIENCE: Duration = Duration::from_secs(15);
/// The most seats that one request takes.
pub const WIDEST: usize = 10;

const SCHEMAS: &str = "/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";

#[derive(Default)]
struct Stored(Flows);

impl Table for Stored {
    fn prefixes(&self) -> &[&'static str] {
        &[LEVELS, SCHEMAS]
    }

    fn change(&mut self, prefix: &'static str, key: &str, _: Option<&Object>, new: Option<&Object>) {
        let object = new.map(parse);
        match prefix {
            SCHEMAS => self.0.schema(key, object.as_ref()),
            _ => self.0.level(key, object.as_ref()),
        }
    }

    fn clear(&mut self) {
        self.0 = Flows::default();
    }
}

/// Gives out seats.
pub struct Fairness {
    stored: Followed<Stored>,
    seats: usize,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    /// By flow schema and priority level.
    numbers: Family<FlowNumbers>,
}

/// What came of asking for a seat.
pub enum Admitted {
    /// Go on: no schema is about the request.
    Unplaced,
    /// Go on; the seat is free again when it is dropped.
    Seated(Place, Seat),
    /// There is no room, and no place to wait.
    Rejected(Place),
}

/// The turn of a request, over when this is dropped.
pub struct Seat {
    /// None where the level has no limit.
    _taken: Option<Taken>,
    numbers: Arc<FlowNumbers>,
}

impl Seat {
    fn new(taken: Option<Taken>, numbers: Arc<FlowNumbers>) -> Self {
        numbers.dispatched.add(1);
        numbers.executing.add(1);
        Seat { _taken: taken, numbers }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.numbers.executing.remove();
    }
}

/// Counts somebody who waits, and may give up.
struct Waits<'a>(&'a FlowNumbers);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.remove();
    }
}

impl Fairness {
    /// Over a store.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Fairness {
            stored: Followed::new(store.clone(), Stored::default()),
            seats: cpus * SEATS_PER_CPU,
            rooms: Mutex::default(),
            numbers: Family::default(),
        }
    }

    /// The same, with another number of seats for all.
    pub fn with_seats(mut self, seats: usize) -> Self {
        self.seats = seats;
        self
    }

    /// Tells what is counted.
    pub fn tell(&self, page: &mut Page) {
        FlowNumbers::tell(&self.numbers, page);
        let name = "apiserver_flowcontrol_nominal_limit_seats";
        page.head(
            name,
            "gauge",
            "Seats of a priority level, of which each request that is worked on takes one or more.",
        );
        let mut rooms: Vec<(String, usize)> = {
            let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            rooms
                .iter()
                .map(|(level, room)| (level.clone(), room.lock().seats))
                .collect()
        };
        rooms.sort_unstable();
        for (level, seats) in rooms {
            page.row(name, &labels(&[("priority_level", &level)]), seats);
        }
    }

    /// Waits for `width` seats. Requests that no schema matches, and those of a level without a limit, need none; nor
    /// do those of who may do everything, whatever the schemas say.
    pub async fn enter(&self, asked: &Attributes<'_>, width: usize) -> Admitted {
        let found = self.stored.with(|stored| {
            let place = stored.0.place(asked)?;
            let level = stored.0.levels().get(&place.level)?.clone();
            let shares: u32 = stored.0.levels().values().filter_map(|level| level.shares).sum();
            Some((place, level, shares))
        });
        let Some((place, level, all_shares)) = found else {
            return Admitted::Unplaced;
        };
        let labels = labels(&[("flow_schema", &place.schema), ("priority_level", &place.level)]);
        let numbers = self.numbers.of(&labels);
        let Some(shares) = level.shares.filter(|_| !asked.user.is_master()) else {
            return Admitted::Seated(place, Seat::new(None, numbers));
        };
        let seats = seats_of(self.seats, shares, all_shares);
        let room = self.room(&place.level, &level, seats);
        numbers.waiting.add(1);
        let waits = Waits(&numbers);
        let taken = room.enter(place.flow, width.clamp(1, WIDEST)).await;
        drop(waits);
        match taken {
            Some(taken) => Admitted::Seated(place, Seat::new(Some(taken), numbers)),
            None => {
                numbers.rejected.add(1);
                Admitted::Rejected(place)
            }
        }
    }

    fn room(&self, name: &str, level: &Level, seats: usize) -> Arc<Room> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is in the room of another level leaves it by and by.
        if let Some(room) = rooms.get(name).filter(|room| room.level == *level) {
            room.resize(seats);
            return room.clone();
        }
        let room = Arc::new(Room::new(level.clone(), seats));
        rooms.insert(name.to_owned(), room.clone());
        room
    }
}

fn seats_of(all: usize, shares: u32, all_shares: u32) -> usize {
    let shares = usize::try_from(shares).unwrap_or(usize::MAX);
    let all_shares = usize::try_from(all_shares).unwrap_or(usize::MAX).max(1);
    all.saturating_mul(shares).div_ceil(all_shares).max(1)
}

/// The seats of a level.
struct Room {
    level: Level,
    inside: Mutex<Inside>,
}

struct Inside {
    seats: usize,
    taken: usize,
    waiting: Option<Queues<Waiting>>,
}

struct Waiting {
    width: usize,
    called: oneshot::Sender<Taken>,
}

/// Seats that are taken until this is dropped.
struct Taken {
    room: Arc<Room>,
    width: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let calls = {
            let mut inside = self.room.lock();
            inside.taken -= self.width;
            self.room.call(&mut inside)
        };
        // Whoever gave up meanwhile gives the seat back at once, by this very drop.
        for (called, seat) in calls {
            let _ = called.send(seat);
        }
    }
}

impl Room {
    fn new(level: Level, seats: usize) -> Self {
        let waiting = level
            .queuing
            .map(|(queues, longest, hand)| Queues::new(queues, longest, hand));
        let inside = Inside {
            seats,
            taken: 0,
            waiting,
        };
        Room {
            level,
            inside: Mutex::new(inside),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resize(&self, seats: usize) {
        self.lock().seats = seats;
    }

    async fn enter(self: &Arc<Self>, flow: u64, width: usize) -> Option<Taken> {
        let called = {
            let mut inside = self.lock();
            let width = width.min(inside.seats);
            let nobody_waits = inside.waiting.as_ref().is_none_or(Queues::is_empty);
            if nobody_waits && inside.taken + width <= inside.seats {
                inside.taken += width;
                let room = self.clone();
                return Some(Taken { room, width });
            }
            let (sender, called) = oneshot::channel();
            let waiting = Waiting { width, called: sender };
            inside.waiting.as_mut()?.push(flow, waiting).ok()?;
            called
        };
        tokio::time::timeout(PATIENCE, called).await.ok()?.ok()
    }

    /// Gives free seats to those who wait, as long as the next one fits.
    fn call(self: &Arc<Self>, inside: &mut Inside) -> Vec<(oneshot::Sender<Taken>, Taken)> {
        let mut calls = Vec::new();
        let Inside { seats, taken, waiting } = inside;
        let Some(waiting) = waiting else { return calls };
        // A wide request may take more than is free: it would never have its turn otherwise.
        while *taken < *seats {
            let Some(next) = waiting.pop() else { break };
            if next.called.is_closed() {
                continue;
            }
            *taken += next.width;
            let seat = Taken {
                room: self.clone(),
                width: next.width,
            };
            calls.push((next.called, seat));
        }
        calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(seats: usize, queuing: Option<(usize, usize, usize)>) -> Arc<Room> {
        let level = Level {
            shares: Some(1),
            queuing,
            ..Level::default()
        };
        Arc::new(Room::new(level, seats))
    }

    #[test]
    fn seats_follow_shares() {
        assert_eq!(seats_of(128, 100, 245), 53);
        assert_eq!(seats_of(128, 5, 245), 3);
        assert_eq!(seats_of(1, 1, 1000), 1);
    }

    #[tokio::test]
    async fn levels_that_refuse_do_not_wait() {
        let room = room(2, None);
        let first = room.enter(1, 1).await.unwrap();
        let _second = room.enter(1, 1).await.unwrap();
        assert!(room.enter(1, 1).await.is_none());
        drop(first);
        assert!(room.enter(1, 1).await.is_some());
    }

    #[tokio::test]
    async fn a_loud_client_does_not_starve_others() {
        let room = room(1, Some((16, 100, 2)));
        let first = room.enter(1, 1).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..101 {
            // All but the last are of one flow.
            let (room, order) = (room.clone(), order.clone());
            let flow = if number == 100 { 2 } else { 1 };
            tasks.push(tokio::spawn(async move {
                let seat = room.enter(flow, 1).await.unwrap();
                order.lock().unwrap().push(flow);
                tokio::task::yield_now().await;
                drop(seat);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in tasks {
            task.await.unwrap();
        }
        let position = order.lock().unwrap().iter().position(|flow| *flow == 2).unwrap();
        assert!(position < 4, "the quiet flow had to wait for {position} others");
        assert_eq!(room.lock().taken, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let room = room(1, Some((1, 10, 1)));
        let first = room.enter(1, 1).await.unwrap();
        assert!(room.enter(1, 1).await.is_none());
        drop(first);
        assert_eq!(room.lock().taken, 0);
        assert!(room.enter(1, 5).await.is_some());
    }
}
