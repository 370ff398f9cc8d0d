//! Functions by name.

use super::Btf;

impl Btf {
    /// The id of a function of vmlinux, by which programs are attached to it; `None` if there is none of this name, or
    /// more than one.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        match *self.base.as_ref().unwrap_or(&self.own).functions(name) {
            [id] => Some(id),
            _ => None,
        }
    }
}
