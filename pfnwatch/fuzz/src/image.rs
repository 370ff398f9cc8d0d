//! Kernel images: bzImage or vmlinux.

use pfnwatch::image::vmlinux;
use pfnwatch::kernel::btf::Btf;
use pfnwatch::kernel::member_lookup::MemberLookup as _;

/// A file is an image whose types can be read, or an error with the reason.
pub fn check(bytes: &[u8]) {
    let looks_like_one = vmlinux::is_image(bytes);
    match vmlinux::parse(bytes) {
        Ok(image) => {
            assert!(looks_like_one, "an image that does not look like one");
            if let Ok(types) = image.btf {
                let btf = Btf::from_reader(types.as_slice(), "image");
                let _ = btf.map(|btf| btf.size_of("page"));
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}
