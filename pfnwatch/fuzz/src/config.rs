//! A configuration of several files: what follows each line `#####` is the next drop-in.

use std::fs;

use pfnwatch::config::{Config, ConfigFiles, origin};

use crate::scratch;

const MARK: &str = "\n#####\n";
const MAX_FILES: usize = 5;

/// Files are one configuration, each of whose values has its place; or they are refused with the file that is wrong.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(folder) = tempfile::tempdir_in(scratch()) else { return };
    let (main, drop_ins) = (folder.path().join("main.toml"), folder.path().join("conf.d"));
    let mut texts = text.split(MARK).take(MAX_FILES);
    let written = fs::create_dir(&drop_ins).and_then(|()| fs::write(&main, texts.next().unwrap_or_default()));
    let all = texts.enumerate().map(|(number, text)| fs::write(drop_ins.join(format!("{number}.toml")), text));
    if written.and_then(|()| all.collect::<std::io::Result<()>>()).is_err() {
        return;
    }
    let Ok(sources) = ConfigFiles::read(Some(&main), &drop_ins) else { return };
    match Config::of(&sources) {
        Ok(config) => {
            assert!(!config.policy().describe().is_empty());
            // What `config show` shows: the files over the defaults.
            let all = sources.over(origin::DEFAULTS);
            let tables = origin::tables(&all);
            let values = tables.iter().flatten().flat_map(|table| &table.values);
            assert!(tables.is_ok(), "{tables:?}");
            for value in values {
                assert!(all.place(value.offset).is_some(), "{value:?} is nowhere");
            }
        }
        Err(error) => assert!(format!("{error:#}").contains("the configuration "), "{error:#}"),
    }
}
