//! The last events, the newest first.

use maud::{Markup, html};

use crate::model::view::View;

/// Kinds that somebody should look at.
const LOUD: [&str; 6] = ["denied", "would_deny", "unjudged", "blind", "lost", "decode_error"];

pub(super) fn render(view: &View) -> Markup {
    html! {
        section aria-labelledby="events" {
            h2 id="events" { "Last events" }
            @if view.last_events.is_empty() {
                p { "There were none yet." }
            } @else {
                table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "What" } } }
                    tbody {
                        @for line in view.last_events.iter().rev() {
                            @let (time, what) = line.text.split_once(' ').unwrap_or(("", &line.text));
                            tr class=[LOUD.contains(&line.kind).then_some("loud")] { td { (time) } td { (what) } }
                        }
                    }
                }
                p { code { "sudo pfnwatch events" } " shows more." }
            }
        }
    }
}
