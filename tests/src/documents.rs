//! The documents for users, run: every command that a page shows is typed in a guest, and what it says must be what the page says.
//!
//! A page's `console` blocks are one story: they run in their order, in a guest whose namespaces, event store and configuration are
//! empty when the page begins. A block that begins with ```` ```console regressed ```` belongs to another story of the same page, told on a
//! kernel with the regression. `# ` is root's prompt, `$ ` that of a user without privileges, `> ` goes on with a command. A block
//! ```` ```toml PATH ```` is that file. `pfnwatch run` stays until the page's end, and what it has said by then is compared.
//!
//! [`block`] reads a page, [`compare`] says what may differ, [`story`] types.

pub mod block;
pub mod compare;
pub mod story;
pub mod update;
