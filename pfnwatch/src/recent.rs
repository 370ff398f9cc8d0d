//! The last events, in the agent's memory: what `pfnwatch events` shows.
//!
//! Denials have a shelf of their own, so that a region which comes up with its hundred namespaces does not push out the
//! one line that says why a creation failed.

use std::collections::VecDeque;

use crate::{
    control::protocol::{Answer, EventsFollow, EventsWanted, Form, Reply},
    event::{Body, Event},
    sinks::line,
};

/// How much is remembered unless told otherwise, in bytes of JSON and of lines for people.
pub const USUAL_BYTES: usize = 256 << 10;

/// The last events, oldest first.
#[derive(Debug)]
pub struct Recent {
    denials: Shelf,
    others: Shelf,
    next: u64,
}

/// Events of a kind, as far as there is room for them.
#[derive(Debug)]
struct Shelf {
    kept: VecDeque<Kept>,
    bytes: usize,
    room: usize,
    dropped: u64,
}

/// An event in both of its forms, so that nothing has to be made of it when it is asked for.
#[derive(Debug)]
struct Kept {
    /// Its place in the order of all events.
    place: u64,
    json: String,
    line: String,
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.json.len() + self.line.len()
    }
}

impl Shelf {
    const fn new(room: usize) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, room, dropped: 0 }
    }

    fn put(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
        while self.bytes > self.room
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.dropped += 1;
        }
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self::new(USUAL_BYTES)
    }
}

impl Recent {
    /// Remembers up to so many bytes of events; half of them are for denials.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        let half = bytes / 2;
        Self { denials: Shelf::new(half), others: Shelf::new(bytes - half), next: 0 }
    }

    /// Remembers an event. One that cannot be written as JSON (none is) counts as dropped.
    pub fn push(&mut self, event: &Event) {
        let shelf = if is_denial(event) { &mut self.denials } else { &mut self.others };
        match serde_json::to_string(event) {
            Ok(mut json) => {
                json.shrink_to_fit();
                let mut line = line::of(event);
                line.shrink_to_fit();
                shelf.put(Kept { place: self.next, json, line });
                self.next += 1;
            }
            Err(_) => shelf.dropped += 1,
        }
    }

    /// The answer to [`Request::Events`](crate::control::protocol::Request::Events).
    #[must_use]
    pub fn reply(&self, wanted: EventsWanted) -> Reply {
        let others = (!wanted.denied).then_some(&self.others);
        let shelves = || std::iter::once(&self.denials).chain(others);
        let mut found: Vec<&Kept> = shelves().flat_map(|shelf| &shelf.kept).collect();
        found.sort_unstable_by_key(|kept| kept.place);
        let left_out = found.len().saturating_sub(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
        let events: Vec<String> = found.into_iter().skip(left_out).map(|kept| written(kept, wanted.form)).collect();
        let dropped = shelves().map(|shelf| shelf.dropped).sum();
        let follow = EventsFollow { count: events.len(), dropped, left_out };
        Reply { first: Ok(Answer::Events(follow)), events }
    }
}

fn written(kept: &Kept, form: Form) -> String {
    match form {
        Form::Json => kept.json.clone(),
        Form::Line => serde_json::Value::from(&*kept.line).to_string(),
    }
}

/// What the guard stopped, or would have stopped under enforce.
fn is_denial(event: &Event) -> bool {
    matches!(event.body, Body::Denied(_) | Body::WouldDeny(_))
}

#[cfg(test)]
mod tests {
    use pfnwatch_common::superblock::Kind;

    use super::*;
    use crate::{
        assess::Cause,
        event::{Blind, Judged},
    };

    fn blind(reason: &str) -> Event {
        Event::now(Body::Blind(Blind { reason: reason.to_owned() }))
    }

    fn denied(device: &str) -> Event {
        Event::now(Body::Denied(Box::new(Judged {
            device: device.to_owned(),
            region: None,
            namespace: None,
            personality: Kind::Pfn,
            map: None,
            align_bytes: 2 << 20,
            block_uuid: None,
            reservation_bytes: None,
            end_trunc_bytes: None,
            ideal_bytes: None,
            excess_bytes: None,
            max_struct_page_size_bytes: Some(128),
            cause: Cause::None,
            class: None,
            why: None,
            exemption: None,
            policy: 1,
            incomplete: false,
            by: None,
            detail: "too much".to_owned(),
            remedies: Vec::new(),
            replaced: None,
        })))
    }

    fn wanted(denied: bool, limit: u32, form: Form) -> EventsWanted {
        EventsWanted { denied, limit, form }
    }

    fn told(recent: &Recent, wanted: EventsWanted) -> (Vec<String>, EventsFollow) {
        let Reply { first: Ok(Answer::Events(follow)), events } = recent.reply(wanted) else { panic!("no events") };
        (events, follow)
    }

    #[test]
    fn the_last_ones_come_in_their_order() {
        let mut recent = Recent::default();
        for event in [blind("one"), denied("pfn0.1"), blind("two"), denied("pfn0.2")] {
            recent.push(&event);
        }
        let (events, follow) = told(&recent, wanted(false, 3, Form::Line));
        assert_eq!(follow, EventsFollow { count: 3, dropped: 0, left_out: 1 });
        let texts: Vec<String> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert!(texts[0].contains("pfn0.1") && texts[1].contains("BLIND    two") && texts[2].contains("pfn0.2"));
        let (events, follow) = told(&recent, wanted(true, 10, Form::Json));
        assert_eq!(follow, EventsFollow { count: 2, dropped: 0, left_out: 0 });
        let event: serde_json::Value = serde_json::from_str(&events[1]).unwrap();
        assert_eq!((&event["event"], &event["device"]), (&"denied".into(), &"pfn0.2".into()));
        assert_eq!(told(&Recent::default(), wanted(false, 9, Form::Json)).1.count, 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_counted_and_denials_stay() {
        let mut recent = Recent::new(16 << 10);
        recent.push(&denied("pfn0.1"));
        for number in 0..1000 {
            recent.push(&blind(&format!("reason {number}")));
            assert!(recent.others.bytes <= 8 << 10);
        }
        let (events, follow) = told(&recent, wanted(false, u32::MAX, Form::Json));
        assert!(events[0].contains("pfn0.1") && events.last().unwrap().contains("reason 999"), "{events:?}");
        assert_eq!(follow.dropped, 1001 - u64::try_from(follow.count).unwrap());
        let kept: usize = recent.others.kept.iter().map(Kept::bytes).sum();
        assert_eq!(recent.others.bytes, kept);
        assert_eq!(told(&recent, wanted(true, 9, Form::Json)).1.dropped, 0);
    }

    #[test]
    fn an_event_larger_than_all_room_is_dropped() {
        let mut recent = Recent::new(4 << 10);
        recent.push(&blind(&"x".repeat(5 << 10)));
        assert_eq!((recent.others.bytes, recent.others.dropped, recent.others.kept.len()), (0, 1, 0));
        recent.push(&blind("small"));
        assert_eq!(recent.others.kept.len(), 1);
    }
}
