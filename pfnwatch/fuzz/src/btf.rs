//! BTF: the number of bytes that a kernel's takes (16 bits), these, and a module's over them.

use pfnwatch::kernel::btf::Btf;
use pfnwatch::kernel::layout;
use pfnwatch::kernel::member_lookup::MemberLookup;

pub fn check(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (kernel, module) = rest.split_at(length);
    let Ok(kernel) = Btf::from_reader(kernel, "kernel") else { return };
    ask(&kernel);
    if let Ok(module) = Btf::split_from_bytes(module, "module", &kernel) {
        ask(&module);
    }
}

fn ask(btf: &Btf) {
    let _ = btf.size_of("page");
    for path in ["mode", "res.start", "left", "right", "pairs", "tail", "flags"] {
        if let Ok(member) = btf.member("outer", path) {
            assert!(member.offset_bytes.checked_mul(8).is_some(), "{path}: {member:?}");
        }
    }
    let _ = layout::resolve(btf);
}
