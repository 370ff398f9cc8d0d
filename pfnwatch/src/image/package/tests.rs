use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    deb_with_control("", files)
}

fn packed_tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{path}"), *bytes).unwrap();
    }
    gzip(&tar.into_inner().unwrap())
}

pub(crate) fn deb_with_control(control: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let (control, data) = (packed_tar(&[("control", control.as_bytes())]), packed_tar(files));
    let mut deb = b"!<arch>\n".to_vec();
    for (name, bytes) in [("debian-binary", b"2.0\n".as_slice()), ("control.tar.gz", &control), ("data.tar.gz", &data)]
    {
        writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, "100644", bytes.len()).unwrap();
        deb.extend(bytes);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    deb
}

pub(crate) fn rpm(files: &[(&str, &[u8])]) -> Vec<u8> {
    rpm_with_requires(&[], files)
}

pub(crate) fn rpm_with_requires(requires: &[&str], files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut rpm = vec![0xed, 0xab, 0xee, 0xdb];
    rpm.resize(96, 0);
    let names: Vec<u8> = requires.iter().flat_map(|name| name.bytes().chain([0])).collect();
    let store_bytes = 7 + u32::try_from(names.len()).unwrap();
    for (entries, store) in [(1_u32, 5_u32), (2, store_bytes)] {
        rpm.extend([0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]);
        rpm.extend(entries.to_be_bytes());
        rpm.extend(store.to_be_bytes());
        rpm.resize(rpm.len() + entries as usize * 16 + store as usize, 0);
        if entries == 1 {
            rpm.resize(rpm.len().next_multiple_of(8), 0);
            continue;
        }
        // The second entry of the main header lists what is required, 7 bytes into the store.
        let store_at = rpm.len() - store as usize;
        let entry = [1049, 8, 7, u32::try_from(requires.len()).unwrap()].map(u32::to_be_bytes).concat();
        rpm[store_at - 16..store_at].copy_from_slice(&entry);
        rpm[store_at + 7..].copy_from_slice(&names);
    }
    let mut archive = Vec::new();
    for (path, bytes) in files {
        let entry = cpio::newc::Builder::new(&format!("./{path}")).mode(0o100_644);
        let mut writer = entry.write(archive, u32::try_from(bytes.len()).unwrap());
        writer.write_all(bytes).unwrap();
        archive = writer.finish().unwrap();
    }
    rpm.extend(gzip(&cpio::newc::trailer(archive).unwrap()));
    rpm
}

fn entries(package: &[u8]) -> Result<Vec<(String, Vec<u8>)>, PackageError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(package).unwrap();
    let mut found = Vec::new();
    let kind = PackageKind::of(package).unwrap();
    files(
        file.path(),
        kind,
        |path| path.starts_with("boot/"),
        |entry| {
            found.push((entry.path, entry.bytes));
            Ok(())
        },
    )?;
    Ok(found)
}

const FILES: [(&str, &[u8]); 3] = [("etc/other", b"other"), ("boot/vmlinuz-1", b"image"), ("boot/odd", b"odd")];

#[test]
fn wanted_files_come_out_of_both_kinds() {
    let wanted = vec![("boot/vmlinuz-1".to_owned(), b"image".to_vec()), ("boot/odd".to_owned(), b"odd".to_vec())];
    assert_eq!(entries(&deb(&FILES)).unwrap(), wanted);
    assert_eq!(entries(&rpm(&FILES)).unwrap(), wanted);
}

#[test]
fn a_package_names_what_it_depends_on() {
    let of = |package: &[u8]| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(package).unwrap();
        kernel_dependencies(file.path(), PackageKind::of(package).unwrap()).unwrap()
    };
    let control = "Package: linux-image-6.19\nDepends: linux-binary-6.19 (= 6.19.1-1), linux-modules-6.19 | other,\n \
                   kmod, linux-base:any (>= 4.3~)\nDescription: x\n linux-none\n";
    let names = ["linux-binary-6.19", "linux-modules-6.19", "linux-base"];
    assert_eq!(of(&deb_with_control(control, &[])), names);
    let requires = ["kernel-core-uname-r", "/bin/sh", "kernel-modules-uname-r"];
    assert_eq!(of(&rpm_with_requires(&requires, &[])), ["kernel-core-uname-r", "kernel-modules-uname-r"]);
    assert!(of(&deb(&[])).is_empty() && of(&rpm(&[])).is_empty());
}

#[test]
fn damage_is_said() {
    assert!(matches!(entries(b"!<arch>\n"), Err(PackageError::NoData)));
    for whole in [deb(&FILES), rpm(&FILES)] {
        let error = entries(&whole[..whole.len() - 40]).unwrap_err();
        assert!(error.to_string().contains("damaged or cut short"), "{error}");
    }
    assert!(entries(&rpm(&FILES)[..97]).is_err());
    assert_eq!(PackageKind::of(b"PK\x03\x04"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn mutated_packages_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut package in [deb(&FILES), rpm(&FILES), rpm_with_requires(&["kernel-core"], &FILES)] {
            for (at, byte) in &changes {
                // The first eight bytes are the magic of its kind.
                let at = 8 + at.index(package.len() - 8);
                package[at] = *byte;
            }
            let _ = entries(&package);
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&package).unwrap();
            let _ = PackageKind::of(&package).map(|kind| kernel_dependencies(file.path(), kind));
        }
    }
}
