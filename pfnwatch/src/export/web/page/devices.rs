//! The devices that no namespace owns, and where their memmaps are.

use maud::{Markup, html};

use super::namespaces::{bar, numbers};
use crate::model::device::AssessedDevice;
use crate::model::units::Bytes;
use crate::model::view::View;

pub(super) fn render(view: &View) -> Markup {
    let Some(scan) = view.scan.as_ref().ok().filter(|scan| !scan.devices.is_empty()) else { return html! {} };
    html! {
        section aria-labelledby="devices" {
            h2 id="devices" { "Devices without a namespace" }
            @for assessed in &scan.devices {
                (card(assessed))
            }
        }
    }
}

fn card(AssessedDevice { device, memory }: &AssessedDevice) -> Markup {
    let size = device.size.clone().ok();
    let shown = |bytes: Option<u64>| bytes.map_or_else(|| "not known".to_owned(), |bytes| Bytes(bytes).to_string());
    html! {
        article {
            h3 { (device.name) }
            p.kind {
                (device.kind.as_str()) ", " (device.driver.mode())
                @if let Some(parent) = &device.parent { ", in " (parent) }
            }
            @if let (Some(size), Some(usable), Some(memmap)) = (size, memory.usable, memory.on_device()) {
                (bar(&[("memmap", memmap), ("usable", usable), ("cut", size.saturating_sub(usable).saturating_sub(memmap))], size))
            }
            (numbers(&[
                ("Size", shown(size)),
                ("Usable", shown(memory.usable)),
                ("Memmap", shown(memory.memmap)),
                ("Memmap in DRAM", shown(memory.dram())),
            ]))
            @for note in &memory.notes {
                p { (note) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::view::healthy;

    #[test]
    fn a_device_is_shown_with_its_memmap_and_no_section_without_one() {
        let mut view = healthy();
        let page = render(&view).into_string();
        for words in
            ["dax1.0", "cxl, system-ram, in region0", "<dt>Memmap in DRAM</dt><dd>16 MiB</dd>", "memmap_on_memory"]
        {
            assert!(page.contains(words), "{words}: {page}");
        }
        view.scan.as_mut().unwrap().keep_namespaces();
        assert_eq!(render(&view).into_string(), "");
    }
}
