//! Tests of several rooms together, each of which none of these rooms could hold without importing the others.

mod agent_loop;
mod any_record;
mod event_lines;
mod line_lengths;
mod saved_blocks;
