//! The page for people: made here, without a script, with a style sheet of its own inside. What is text from outside is escaped
//! by the templates.

mod agent;
mod devices;
mod namespaces;
mod notices;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::model::event::Time;
use crate::model::view::View;

/// The style sheet; the header of the page allows no other.
pub(super) const STYLE: &str = include_str!("page/style.css");

/// How often a browser reloads it, in seconds.
const REFRESH_S: u32 = 30;

pub(super) fn render(view: &View) -> String {
    let agent = &view.status.agent;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content=(REFRESH_S);
                title { "pfnwatch" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "pfnwatch" }
                    p { "Linux " (agent.kernel) " · as of " time { (Time(view.now).seconds()) } }
                }
                main {
                    (notices::render(view))
                    (namespaces::render(view))
                    (devices::render(view))
                    (events(view))
                    (agent::render(view))
                }
                footer {
                    p {
                        "pfnwatch " (agent.version) " · " a href="/metrics" { "metrics" } " · " a href="/readyz" { "ready?" }
                        " · this page reloads every " (REFRESH_S) " s"
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Kinds that somebody should look at.
const LOUD: [&str; 6] = ["denied", "would_deny", "unjudged", "blind", "lost", "decode_error"];

fn events(view: &View) -> Markup {
    html! {
        section aria-labelledby="events" {
            h2 id="events" { "Last events" }
            @if view.last_events.is_empty() {
                p { "No events yet." }
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
