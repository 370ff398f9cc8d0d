//! Functions by name.

use btf_rs::Type;

use super::Btf;

impl Btf {
    /// The id of a function of vmlinux, by which programs are attached to it; none where there is none of this name, or
    /// more than one.
    pub fn function_id(&self, name: &str) -> Option<u32> {
        let vmlinux = self.parsed.base();
        let ids = vmlinux.resolve_ids_by_name(name).ok()?;
        let is_function = |id: &u32| matches!(vmlinux.resolve_type_by_id(*id), Ok(Type::Func(_)));
        let mut functions = ids.into_iter().filter(is_function);
        functions.next().filter(|_| functions.next().is_none())
    }
}
